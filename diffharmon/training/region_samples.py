"""Samples for the small CLIP: a photo, or one region of it on grey, under the condition its words name."""

from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from diffharmon.condition import grades
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.training.captions import GENERIC_OBJECTS, NEUTRAL, caption, sample_words
from diffharmon.training.photos import Photos
from diffharmon.training.synthesis import chance, pick, random_crop

WORDS: tuple[str, ...] = tuple(word for words in VOCABULARY.values() for word in words)
GREY = 0.5  # what hides the other region


class RegionSampler:
    """Draw a graded photo (40 %), its foreground alone (35 %) or its background alone (25 %).

    A fifth stays ungraded, under "daylight" or the word of its scene class.

    Args:
        photos: photos, some with masks.
        size: side of the samples in pixels.
        tokenizer: makes the captions' tokens.
        untouched: share of samples that are not graded.
    """

    def __init__(self, photos: Photos, size: int, tokenizer: CLIPTokenizer, untouched: float = 0.2) -> None:
        self.photos, self.size, self.tokenizer, self.untouched = photos, size, tokenizer, untouched
        self._masks = photos.usable_masks()

    def __call__(self, generator: torch.Generator) -> dict[str, Any]:
        """Draw a sample.

        Returns:
            `image` (3 x s x s), `input_ids` of the caption and `words` (54), the share of each word in the caption.
        """
        if self._masks and chance(generator) < 0.6:
            index = pick(self._masks, generator)
            record = self.photos.masks[index]
            layers = torch.cat([self.photos.image(record.photo), self.photos.mask(index)])
            natural, noun = NEUTRAL, record.noun
        else:
            photo = int(torch.randint(len(self.photos), (), generator=generator))
            layers = self.photos.image(photo)
            natural, noun = self.photos.records[photo].condition, self.photos.records[photo].noun
        layers = random_crop(layers, self.size, round(0.8 * self.photos.side), 0.4, generator)
        image, region = layers[:3], layers[3:]
        words: tuple[str, ...] = (natural,)
        if chance(generator) >= self.untouched:
            words = sample_words(generator)
            image = grades.sample(words, generator)(image)
        if len(region):
            region = region if chance(generator) < 0.6 else 1 - region
            image = image * region + GREY * (1 - region)
        if noun is None or chance(generator) < 0.5:
            noun = pick(GENERIC_OBJECTS, generator)
        return {"image": image, "input_ids": self._tokens(caption(noun, words)), "words": word_shares(words)}

    def _tokens(self, text: str) -> Tensor:
        tokens = self.tokenizer(text, padding="max_length", truncation=True, return_tensors="pt")
        return tokens.input_ids[0]


def word_shares(words: tuple[str, ...]) -> Tensor:
    """Spread one over the given words of the vocabulary, in the order of `WORDS`."""
    shares = torch.zeros(len(WORDS))
    shares[[WORDS.index(word) for word in words]] = 1 / len(words)
    return shares
