"""Samples for the small CLIP: a photo, or one region of a composite, under the condition its words name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTokenizer

from diffharmon.condition import grades
from diffharmon.condition.light import cards_of
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.images.regions import close_up, hide
from diffharmon.training.captions import GENERIC_OBJECTS, NEUTRAL, caption, sample_words
from diffharmon.training.photos import Photos
from diffharmon.training.synthesis import chance, pick, random_crop

WORDS: tuple[str, ...] = tuple(word for words in VOCABULARY.values() for word in words)
# Camera settings of both regions alike, which no caption names: what a region is compared with has to decide.
_CAMERA_SPREAD = {"exposure": 0.25, "temperature": 0.15, "tint": 0.06, "contrast": 0.1, "saturation": 0.12}


@dataclass(frozen=True)
class RegionPlan:
    """A sample before its pixels are computed.

    Attributes:
        layers: photo and foreground mask, cropped and resized.
        camera: settings of the whole frame.
        inside: settings of the foreground.
        outside: settings of the background.
        region: which part is asked for: "whole", "foreground" or "background".
        context: the other part is seen through a screen instead of being hidden.
        noun: what the caption says is seen.
        words: the conditions of the part that is asked for.
        graded: the part's light is that of its grade (a scene label says nothing about numbers).
    """

    layers: Float[Tensor, "4 s s"]
    camera: Float[Tensor, "16"]
    inside: Float[Tensor, "16"]
    outside: Float[Tensor, "16"]
    region: str
    context: bool
    noun: str
    words: tuple[str, ...]
    graded: bool = True


class RegionSampler:
    """Draw a graded photo (15 %), or the foreground (60 %) or background (25 %) of a composite.

    Of the composites half have a graded object in an untouched photo, an eighth a graded object in a graded photo, an
    eighth an untouched object in a graded photo, a twelfth are graded as a whole and a sixth are untouched. A quarter
    of the composites cut out what another photo's mask says, so that not only objects are judged. The other region is
    seen through a screen, or, one time in six, not at all.

    Args:
        photos: photos, some with masks.
        size: side of the samples in pixels.
        tokenizer: makes the captions' tokens.
    """

    def __init__(self, photos: Photos, size: int, tokenizer: CLIPTokenizer) -> None:
        self.photos, self.size, self.tokenizer = photos, size, tokenizer
        self._masks = [index for index in photos.usable_masks() if photos.mask(index).max() > 0.5]

    def __call__(self, generator: torch.Generator) -> RegionPlan:
        """Draw a plan; `render` makes a batch of them."""
        if not self._masks or chance(generator) < 0.15:
            return self._whole(generator)
        return self._composite(generator)

    def _whole(self, generator: torch.Generator) -> RegionPlan:
        index = int(torch.randint(len(self.photos), (), generator=generator))
        record, image = self.photos.records[index], self.photos.image(index)
        image = random_crop(image, self.size, round(0.7 * self.photos.side), 0.4, generator)
        layers = torch.cat([image, torch.ones_like(image[:1])])
        words: tuple[str, ...] = (record.condition,)
        settings = _neutral()
        if chance(generator) >= 0.2:
            words = sample_words(generator)
            settings = grades.sample(words, generator).settings
        graded = words != (record.condition,) or record.condition == NEUTRAL
        noun = _noun(record.noun, generator)
        return RegionPlan(layers, _camera(generator), settings, _neutral(), "whole", False, noun, words, graded)

    def _composite(self, generator: torch.Generator) -> RegionPlan:
        layers, noun = self._layers(generator)
        kind = chance(generator)
        inside: tuple[str, ...] = (NEUTRAL,)
        outside: tuple[str, ...] = (NEUTRAL,)
        if kind < 0.705:
            inside = sample_words(generator)
        if 0.5 <= kind < 0.625 or 0.705 <= kind < 0.83:
            outside = sample_words(generator)
        light = self._settings(inside, generator)
        behind = self._settings(outside, generator)
        if 0.625 <= kind < 0.705:
            outside, behind = inside, light
        region = "foreground" if chance(generator) < 0.7 else "background"
        words = inside if region == "foreground" else outside
        context = chance(generator) >= 1 / 6
        return RegionPlan(layers, _camera(generator), light, behind, region, context, _noun(noun, generator), words)

    def _settings(self, words: tuple[str, ...], generator: torch.Generator) -> Float[Tensor, "16"]:
        return _neutral() if words == (NEUTRAL,) else grades.sample(words, generator).settings

    def _layers(self, generator: torch.Generator) -> tuple[Tensor, str | None]:
        index = pick(self._masks, generator)
        mask = self.photos.mask(index)
        if chance(generator) < 0.25:
            photo, noun = int(torch.randint(len(self.photos), (), generator=generator)), None
        else:
            photo, noun = self.photos.masks[index].photo, self.photos.masks[index].noun
        layers = torch.cat([self.photos.image(photo), mask])
        if chance(generator) < 0.55:
            layers = close_up(layers, mask)
        else:
            cropped = random_crop(layers, self.photos.side, round(0.75 * self.photos.side), 0.6, generator)
            layers = cropped if 0.015 < cropped[3].mean() < 0.8 else layers
        layers = functional.interpolate(layers[None], (self.size, self.size), mode="bilinear", antialias=True)[0]
        return (layers.flip(-1) if chance(generator) < 0.5 else layers).clamp(0, 1), noun

    def render(self, plans: Sequence[RegionPlan]) -> dict[str, Any]:
        """Compute a batch.

        Returns:
            `image` (b x 3 x s x s), `input_ids` of the captions, `words` (b x 54), the share of each word in the
            caption, `light` (b x 30), what the grade does to the cards, and `graded` (b), whether that is known.
        """
        layers = torch.stack([plan.layers for plan in plans])
        settings = {
            name: torch.stack([getattr(plan, name) for plan in plans]) for name in ("camera", "inside", "outside")
        }
        photo, mask = grades.apply(layers[:, :3], settings["camera"]), layers[:, 3:]
        image = grades.apply(photo, settings["inside"]) * mask + grades.apply(photo, settings["outside"]) * (1 - mask)
        behind = torch.tensor([plan.region == "background" for plan in plans]).view(-1, 1, 1, 1)
        region = torch.where(behind, 1 - mask, mask)
        context = torch.tensor([plan.context for plan in plans]).view(-1, 1, 1, 1)
        image = torch.where(context, hide(image, region, True), hide(image, region, False))
        tokens = self.tokenizer(
            [caption(plan.noun, plan.words) for plan in plans],
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        return {
            "image": image,
            "input_ids": tokens.input_ids,
            "words": torch.stack([word_shares(plan.words) for plan in plans]),
            "light": cards_of(torch.where(behind[:, :, 0, 0], settings["outside"], settings["inside"])),
            "graded": torch.tensor([plan.graded for plan in plans]),
        }


def word_shares(words: tuple[str, ...]) -> Tensor:
    """Spread one over the given words of the vocabulary, in the order of `WORDS`."""
    shares = torch.zeros(len(WORDS))
    shares[[WORDS.index(word) for word in words]] = 1 / len(words)
    return shares


def _neutral() -> Float[Tensor, "16"]:
    return torch.zeros(len(grades.SETTINGS))


def _camera(generator: torch.Generator) -> Float[Tensor, "16"]:
    spread = torch.tensor([_CAMERA_SPREAD.get(name, 0.0) for name in grades.SETTINGS])
    return spread * torch.randn(len(spread), generator=generator) * (chance(generator) < 0.6)


def _noun(noun: str | None, generator: torch.Generator) -> str:
    return pick(GENERIC_OBJECTS, generator) if noun is None or chance(generator) < 0.5 else noun
