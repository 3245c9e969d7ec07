"""Captions of graded photos: one object word followed by condition words."""

import re
from collections.abc import Mapping

import torch

from diffharmon.condition.vocabulary import VOCABULARY

NEUTRAL = "daylight"
GENERIC_OBJECTS: tuple[str, ...] = ("object", "photo")
# Nouns the tokenizer knows whatever the training photos hold: COCO's classes and a few common ones.
COMMON_NOUNS: tuple[str, ...] = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "light",
    "hydrant",
    "sign",
    "meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "ski",
    "snowboard",
    "ball",
    "kite",
    "bat",
    "glove",
    "skateboard",
    "surfboard",
    "racket",
    "bottle",
    "glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hotdog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "plant",
    "bed",
    "table",
    "toilet",
    "television",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "toy",
    "drier",
    "toothbrush",
    "man",
    "woman",
    "boy",
    "girl",
    "child",
    "baby",
    "face",
    "animal",
    "flower",
    "tree",
    "house",
    "building",
    "sky",
    "water",
    "sea",
    "river",
    "grass",
    "sand",
    "rock",
    "road",
    "field",
    "mountain",
    "snow",
    "cloud",
    "street",
    "room",
    "wall",
    "window",
    "door",
    "statue",
    "tower",
    "bridge",
    "fruit",
    "food",
    "leaf",
    "hill",
    "beach",
    "scene",
    "image",
    "picture",
    "foreground",
    "background",
    "rocket",
    "coffee",
    "astronaut",
    "telescope",
    "fish",
    "insect",
    "butterfly",
    "duck",
    "swan",
    "eagle",
    "lion",
    "tiger",
    "fox",
    "rabbit",
    "squirrel",
    "deer",
    "monkey",
)
# Scene classes that name a condition of the vocabulary or a near synonym of one.
SCENE_CONDITIONS: Mapping[str, str] = {
    "cloudy": "cloudy",
    "rain": "rainy",
    "shine": "sunny",
    "sunrise": "sunrise",
    "forest": "forest",
    "mountain": "mountain",
    "sea": "ocean",
    "street": "street",
    "buildings": "city",
    "glacier": "icy",
}
_SCENE_OBJECTS: Mapping[str, str] = {"cloudy": "sky", "rain": "street", "shine": "sky", "sunrise": "sky"}
_NOT_OBJECTS = frozenset({"salient", "region", "object", "class", "in", "tar", "input", "target"})
_SINGULAR: Mapping[str, str] = {
    "trees": "tree",
    "buildings": "building",
    "mountains": "mountain",
    "rocks": "rock",
    "plants": "plant",
    "flowers": "flower",
    "bushes": "bush",
    "cars": "car",
    "people": "person",
    "clouds": "sky",
    "animals": "animal",
}
_WORD_COUNT_SHARES = (0.45, 0.3, 0.15, 0.1)


def object_word(label: str) -> str | None:
    """Reduce a class label of the training data to one lower-case noun.

    The last word of a label is its head ("great white shark" -> "shark"); view angles and camel-case suffixes of
    LabelMe ("carLeft", "car side az30deg") are dropped.

    Returns:
        The noun, or None when the label names nothing ("salient", "region", "").
    """
    label = re.sub(r"(?<=[a-z])(Left|Right|Rear|Frontal|Side)\b.*", "", label.strip())
    words = re.findall(r"[a-z]+", label.lower().split(",")[0])
    for position, word in enumerate(words):
        if word in ("side", "near", "left", "right", "mid", "frontal", "rear", "az", "of") and position > 0:
            words = words[:position]
            break
    if not words or words[-1] in _NOT_OBJECTS or len(words[-1]) < 3:
        return None
    return _SINGULAR.get(words[-1], words[-1])


def scene_object(scene: str) -> str:
    """Name what a photo of a scene class shows, as one noun."""
    return _SCENE_OBJECTS.get(scene, object_word(scene) or GENERIC_OBJECTS[1])


def sample_words(generator: torch.Generator, exclude: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Draw one to four condition words, at most one per list of the vocabulary (paper, section 3.1).

    Args:
        generator: source of randomness.
        exclude: words not to draw.
    """
    shares = torch.tensor(_WORD_COUNT_SHARES)
    count = int(torch.multinomial(shares, 1, generator=generator)) + 1
    lists = torch.randperm(len(VOCABULARY), generator=generator).tolist()
    names = list(VOCABULARY)
    words = []
    for index in sorted(lists[:count]):
        choices = [word for word in VOCABULARY[names[index]] if word not in exclude]
        words.append(choices[int(torch.randint(len(choices), (), generator=generator))])
    return tuple(words)


def sample_weights(count: int, graded: float, generator: torch.Generator) -> tuple[float, ...]:
    """Draw how much each word of a caption counts.

    Args:
        count: how many words.
        graded: probability that the words have weights, each uniform on [0.1, 1]; otherwise all count fully.
        generator: source of randomness.

    Returns:
        A weight for each word, or nothing where all count fully.
    """
    if graded <= 0 or torch.rand((), generator=generator).item() >= graded:
        return ()
    return tuple((0.1 + 0.9 * torch.rand(count, generator=generator)).tolist())


def caption(noun: str, words: tuple[str, ...]) -> str:
    """Write the prompt for an object under conditions: the noun first, so that its token position is known."""
    return " ".join((noun, *words))
