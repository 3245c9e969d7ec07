"""Training samples made from real photos: graded photos, and composites whose object alone is graded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffharmon.condition import grades
from diffharmon.training.captions import GENERIC_OBJECTS, NEUTRAL, caption, sample_weights, sample_words
from diffharmon.training.photos import Photos

Item = TypeVar("Item")


@dataclass(frozen=True)
class CaptionedImage:
    """A training image and the noun and condition words, possibly weighted, that describe it."""

    image: Float[Tensor, "3 h w"]
    noun: str
    words: tuple[str, ...]
    weights: tuple[float, ...] = ()

    @property
    def caption(self) -> str:
        """The prompt: noun first, then the words."""
        return caption(self.noun, self.words)


@dataclass(frozen=True)
class Triple:
    """A composite made from a real photo by grading its foreground with weighted `words`, at sample size."""

    real: Float[Tensor, "3 h w"]
    composite: Float[Tensor, "3 h w"]
    mask: Float[Tensor, "1 h w"]
    noun: str
    words: tuple[str, ...]
    weights: tuple[float, ...] = ()

    def to(self, device: torch.device | str) -> "Triple":
        """Return the triple with its tensors on `device`."""
        moved = {name: getattr(self, name).to(device) for name in ("real", "composite", "mask")}
        return replace(self, **moved)


def chance(generator: torch.Generator) -> float:
    """Draw from the uniform distribution on [0, 1)."""
    return torch.rand((), generator=generator).item()


def pick(items: Sequence[Item], generator: torch.Generator) -> Item:
    """Draw one item."""
    return items[int(torch.randint(len(items), (), generator=generator))]


def random_crop(
    layers: Float[Tensor, "c h w"], size: int, smallest: int, whole: float, generator: torch.Generator
) -> Float[Tensor, "c s s"]:
    """Crop a square at random, resize it and mirror it half of the time.

    Args:
        layers: image and masks on top of each other, square.
        size: side of the result.
        smallest: smallest side of the crop before resizing.
        whole: probability of taking the whole frame.
        generator: source of randomness.
    """
    full = layers.shape[-1]
    side = full
    if chance(generator) >= whole:
        side = int(torch.randint(smallest, full + 1, (), generator=generator))
    top, left = torch.randint(full - side + 1, (2,), generator=generator).tolist()
    cropped = layers[:, top : top + side, left : left + side]
    if side != size:
        cropped = functional.interpolate(cropped[None], size, mode="bilinear", antialias=True)[0]
    return (cropped.flip(-1) if chance(generator) < 0.5 else cropped).clamp(0, 1)


def foreground_psnr(
    image: Float[Tensor, "*b 3 h w"], real: Float[Tensor, "*b 3 h w"], mask: Float[Tensor, "*b 1 h w"]
) -> Float[Tensor, "*b"]:
    """PSNR in dB over the foreground, weighted by the mask; higher is closer."""
    error = ((image - real) ** 2 * mask).sum((-3, -2, -1)) / (3 * mask.sum((-3, -2, -1)))
    return -10 * error.clamp_min(1e-9).log10()


class ConditionSampler:
    """Draw captioned images: half whole photos, half composites captioned by their object's condition.

    Of the whole photos a fifth stays as it is, under "daylight" or the word of its scene class. Of the composites
    55 % have a graded object on an untouched background (what harmonization must invert), 15 % a graded object on
    a graded background, 20 % an untouched object on a graded background and 10 % are untouched; an untouched object
    is captioned "daylight".

    Args:
        photos: where the photos come from.
        size: side of the samples in pixels.
        composites: share of composites.
        untouched: share of the whole photos that are not graded.
        named: probability that a known noun is used rather than "object" or "photo".
        graded: probability that the words of a caption have weights, see `sample_weights`.
    """

    def __init__(
        self,
        photos: Photos,
        size: int = 128,
        composites: float = 0.5,
        untouched: float = 0.2,
        named: float = 0.65,
        graded: float = 0.0,
    ) -> None:
        self.photos, self.size, self.composites = photos, size, composites
        self.untouched, self.named, self.graded = untouched, named, graded
        self._masks = photos.usable_masks()

    def __call__(self, generator: torch.Generator) -> CaptionedImage:
        """Draw one sample."""
        if not self._masks or chance(generator) >= self.composites:
            return self._whole(generator)
        return self._composite(generator)

    def _noun(self, noun: str | None, generator: torch.Generator) -> str:
        if noun and chance(generator) < self.named:
            return noun
        return GENERIC_OBJECTS[1] if chance(generator) < 0.35 else GENERIC_OBJECTS[0]

    def _crop(self, layers: Tensor, generator: torch.Generator) -> Tensor:
        return random_crop(layers, self.size, self.size, 0.5, generator)

    def _whole(self, generator: torch.Generator) -> CaptionedImage:
        index = int(torch.randint(len(self.photos), (), generator=generator))
        record = self.photos.records[index]
        image = self._crop(self.photos.image(index), generator)
        if chance(generator) < self.untouched:
            return CaptionedImage(image, self._noun(record.noun, generator), (record.condition,))
        words = sample_words(generator)
        weights = sample_weights(len(words), self.graded, generator)
        noun = self._noun(record.noun, generator)
        return CaptionedImage(grades.sample(words, generator, weights=weights)(image), noun, words, weights)

    def _composite(self, generator: torch.Generator) -> CaptionedImage:
        index = pick(self._masks, generator)
        record = self.photos.masks[index]
        layers = self._crop(torch.cat([self.photos.image(record.photo), self.photos.mask(index)]), generator)
        image, mask = layers[:3], layers[3:]
        kind = chance(generator)
        words = sample_words(generator) if kind < 0.7 else (NEUTRAL,)
        weights = sample_weights(len(words), self.graded, generator) if kind < 0.7 else ()
        inside = grades.sample(words, generator, weights=weights)(image) if kind < 0.7 else image
        outside = image
        if 0.55 < kind < 0.9:
            outside = grades.sample(sample_words(generator), generator)(image)
        noun = self._noun(record.noun, generator)
        return CaptionedImage(inside * mask + outside * (1 - mask), noun, words, weights)


def triples(photos: Photos, count: int, size: int = 128, seed: int = 7, graded: float = 0.0) -> list[Triple]:
    """Make validation triples, one per photo, of foregrounds between 10 and 28 dB away from the real photo.

    Args:
        photos: where the photos come from.
        count: how many at most.
        size: side in pixels.
        seed: seed of the draws.
        graded: probability that the words of a composite have weights, see `sample_weights`.

    Raises:
        ValueError: when no photo has a usable mask.
    """
    generator = torch.Generator().manual_seed(seed)
    usable = photos.usable_masks()
    if not usable:
        raise ValueError("no photo with a usable mask")
    made: list[Triple] = []
    seen: set[int] = set()
    for position in torch.randperm(len(usable), generator=generator).tolist():
        record = photos.masks[usable[position]]
        if record.photo in seen or len(made) >= count:
            continue
        seen.add(record.photo)
        layers = torch.cat([photos.image(record.photo), photos.mask(usable[position])])
        layers = functional.interpolate(layers[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
        real, mask = layers[:3], layers[3:]
        for _ in range(50):
            words = sample_words(generator, exclude=(NEUTRAL,))
            weights = sample_weights(len(words), graded, generator)
            composite = grades.sample(words, generator, weights=weights)(real) * mask + real * (1 - mask)
            if 10 < foreground_psnr(composite, real, mask) < 28:
                break
        made.append(Triple(real, composite, mask, record.noun or GENERIC_OBJECTS[0], words, weights))
    return made


def jittered_crop(photos: Photos, side: int, generator: torch.Generator) -> Float[Tensor, "3 s s"]:
    """Crop a random photo at random and change its tone curve, gains, saturation and haze at random."""
    image = photos.image(int(torch.randint(len(photos), (), generator=generator)))
    top, left = torch.randint(photos.side - side + 1, (2,), generator=generator).tolist()
    image = image[:, top : top + side, left : left + side]
    if chance(generator) < 0.5:
        image = image.flip(-1)

    def normal(count: int, spread: float) -> Tensor:
        return torch.randn(count, 1, 1, generator=generator) * spread

    image = image.clamp_min(1e-3) ** torch.exp(normal(1, 0.35))
    image = image * torch.exp(normal(1, 0.25) + normal(3, 0.18))
    grey = image.mean(0, keepdim=True)
    image = grey + (image - grey) * torch.exp(normal(1, 0.4)) * (chance(generator) > 0.06)
    if chance(generator) < 0.3:
        image = image * (1 - 0.25 * chance(generator))
    if chance(generator) < 0.3:
        image = image + 0.12 * torch.rand(3, 1, 1, generator=generator)
    return image.clamp(0, 1)
