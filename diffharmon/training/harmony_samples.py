"""Pairs for the harmony classifier: a real photo and a composite of the same photo, degraded alike."""

from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffharmon.condition import grades
from diffharmon.condition.relighting import Relighting
from diffharmon.training.captions import NEUTRAL, sample_words
from diffharmon.training.photos import Photos
from diffharmon.training.synthesis import chance, foreground_psnr, pick, random_crop

# Rows: lightness, yellow-blue, red-green; any invertible opponent axes serve a transfer of means and spreads.
_OPPONENT = torch.tensor([[0.299, 0.587, 0.114], [0.5, 0.5, -1.0], [0.866, -0.866, 0.0]])
_SHIFT_SCALE = 5.0


class HarmonySampler:
    """Draw a photo and a composite of it whose foreground was graded, relit or given another photo's colours.

    Both versions then go through the same grade of the whole frame and the same JPEG compression, and both are seen
    with the same soft or wrong mask, so that neither content nor traces of processing tell them apart.

    Args:
        photos: photos with masks.
        size: side of the samples in pixels.
        relighting: measured illuminations; grading takes its share without them.

        borrowed: share of pairs that cut out what another photo's mask says, so that not only objects are judged.

    Raises:
        ValueError: when no photo has a usable mask.
    """

    def __init__(
        self, photos: Photos, size: int = 96, relighting: Relighting | None = None, borrowed: float = 0.0
    ) -> None:
        self.photos, self.size, self.relighting, self.borrowed = photos, size, relighting, borrowed
        self._masks = photos.usable_masks()
        if not self._masks:
            raise ValueError("no photo with a usable mask")

    def __call__(self, generator: torch.Generator) -> dict[str, Any]:
        """Draw a pair.

        Returns:
            `real` and `composite` (3 x s x s), `mask` (1 x s x s), and `shift`: the six numbers `HarmonyNetwork.judge`
            estimates for the composite.
        """
        layers = self._layers(generator)
        real, mask = layers[:3], layers[3:]
        changed = self._change(real, mask, generator)
        cut = mask if chance(generator) < 0.6 else spoil(mask, generator)
        composite = changed * cut + real * (1 - cut)
        if chance(generator) < 0.6:
            grade = grades.sample(sample_words(generator), generator, strength=chance(generator))
            real, composite = grade(real), grade(composite)
        seen = spoil(mask, generator)
        before, after = moments(real, seen), moments(composite, seen)
        shift = torch.cat([after[0] - before[0], 2 * (after[1] - before[1])]).flatten() * _SHIFT_SCALE
        if chance(generator) < 0.6:
            quality = int(torch.randint(45, 96, (), generator=generator))
            real, composite = compress(real, quality), compress(composite, quality)
        return {"real": real, "composite": composite, "mask": seen, "shift": shift}

    def _layers(self, generator: torch.Generator) -> Float[Tensor, "4 s s"]:
        index = pick(self._masks, generator)
        photo = self.photos.masks[index].photo
        if self.borrowed and chance(generator) < self.borrowed:
            photo = int(torch.randint(len(self.photos), (), generator=generator))
        layers = torch.cat([self.photos.image(photo), self.photos.mask(index)])
        cropped = random_crop(layers, self.size, round(0.76 * self.photos.side), 0.4, generator)
        if 0.02 < cropped[3].mean() < 0.8:
            return cropped
        return random_crop(layers, self.size, self.photos.side, 1.0, generator)

    def _change(self, image: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        changed = image
        for _ in range(12):
            kind = chance(generator)
            if kind < 0.6 or (kind < 0.8 and self.relighting is None):
                words = sample_words(generator, exclude=(NEUTRAL,))
                changed = grades.sample(words, generator, strength=0.6 + 0.6 * chance(generator))(image)
            elif kind < 0.8 and self.relighting is not None:
                changed = self.relighting.sample(image, generator)
            else:
                other = self._layers(generator)
                changed = transfer_colours(image, mask, other[:3], other[3:])
            if 8 < foreground_psnr(changed, image, mask) < 27:
                break
        return changed


def moments(
    image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"]
) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Return mean and standard deviation of each channel over a mask."""
    weight = mask / mask.sum().clamp_min(1e-3)
    mean = (image * weight).sum((1, 2), keepdim=True)
    variance = ((image - mean) ** 2 * weight).sum((1, 2), keepdim=True)
    return mean, variance.clamp_min(1e-4).sqrt()


def transfer_colours(
    image: Float[Tensor, "3 h w"],
    mask: Float[Tensor, "1 h w"],
    other: Float[Tensor, "3 h w"],
    other_mask: Float[Tensor, "1 h w"],
) -> Float[Tensor, "3 h w"]:
    """Give a region the mean and spread of another photo's region (Reinhard et al. 2001), in opponent colours."""
    own, wanted = (torch.einsum("oc,chw->ohw", _OPPONENT, value) for value in (image, other))
    mean, spread = moments(own, mask)
    other_mean, other_spread = moments(wanted, other_mask)
    moved = (own - mean) * (other_spread / spread).clamp(0.4, 2.5) + other_mean
    return torch.einsum("oc,chw->ohw", torch.linalg.inv(_OPPONENT), moved).clamp(0, 1)


def spoil(mask: Float[Tensor, "1 h w"], generator: torch.Generator) -> Float[Tensor, "1 h w"]:
    """Leave a mask as it is, or widen, shrink or blur it by one to three pixels."""
    kind = chance(generator)
    if kind < 0.35:
        return mask
    kernel = 2 * int(torch.randint(1, 4, (), generator=generator)) + 1
    if kind < 0.55:
        return functional.max_pool2d(mask[None], kernel, 1, kernel // 2)[0]
    if kind < 0.75:
        shrunk = -functional.max_pool2d(-mask[None], kernel, 1, kernel // 2)[0]
        return shrunk if shrunk.mean() > 0.01 else mask
    return functional.avg_pool2d(mask[None], kernel, 1, kernel // 2, count_include_pad=False)[0]


def compress(image: Float[Tensor, "3 h w"], quality: int) -> Float[Tensor, "3 h w"]:
    """Pass an RGB image in [0, 1] through JPEG."""
    pixels = (image.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"JPEG could not encode an image of shape {tuple(image.shape)}")
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1]
    return torch.from_numpy(decoded.copy()).permute(2, 0, 1).float() / 255
