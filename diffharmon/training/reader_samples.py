"""Samples for the reader of light: composites with natural colours and differences, and the photos under them."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.regions import regions
from diffharmon.training.composite_ways import Change, Colours, Way, to_lab
from diffharmon.training.harmony_samples import HarmonySampler, compress
from diffharmon.training.photos import Photos
from diffharmon.training.synthesis import random_crop

_STUFF = {"sky", "road", "water", "mountain", "field", "sand", "snow", "ground", "grass", "sea"}
_STUFF_SHARE = 0.25  # weight of a mask of stuff, which is no object and often a cause of the light
_GENUINE_SPREAD = (15.0, 0.9, 0.9)  # of the natural object-background difference: L in CIELAB; a, b as a factor
_COLOURS = 500  # of the foreground and of a reference object, from which a change is drawn
_TRIES = 4
_DRAWS = 500  # before sampling gives up
_EXTENT = (8.0, 30.0)  # dB from the real foreground that a composite aims at
_FARTHEST, _NEAREST = 7.0, 34.0  # dB; composites beyond are drawn again
_SCORED = 192  # foreground pixels on which the error is measured
_SMALLEST, _LARGEST = 0.0075, 0.97  # share of the frame that a foreground may fill
FrameMap = Callable[[Float[np.ndarray, "h w 3"]], Float[np.ndarray, "h w 3"]]


class ReaderSampler:
    """Draw a composite and the untouched photo under it, as the reader of light sees them in training.

    Masks are drawn so that the natural difference between object and near background spreads as in genuine triples
    (a standard deviation of 15 in L; plain draws of the masks used here have 20). A composite aims at a foreground PSNR
    from a normal distribution (16.5 ± 4.5 dB). Photo and composite then pass the same tone curve, saturation, contrast
    and haze of the whole frame. What is looked at passes the same blur, noise and JPEG: without them a network reads
    the traces of the change instead of the light, and what it learns does not carry over to other ways or to softer
    pictures.

    Args:
        photos: photos with masks.
        size: side of the samples in pixels.
        ways: ways of making a composite.
        shares: how often each way is drawn; they need not add up to 1.

    Raises:
        ValueError: when no photo has a usable mask, a share has no way, or no draw gives a composite.
    """

    def __init__(self, photos: Photos, size: int, ways: Mapping[str, Way], shares: Mapping[str, float]) -> None:
        unknown = sorted(set(shares) - set(ways))
        if unknown:
            raise ValueError(f"no way of making a composite is named {unknown}; there are {sorted(ways)}")
        self.photos, self.size, self.ways = photos, size, ways
        self.names = list(shares)
        self.shares = np.array([shares[name] for name in self.names]) / sum(shares.values())
        self._masks = [index for index in photos.usable_masks(0.015, 0.72) if photos.mask(index).max() > 0.5]
        if not self._masks:
            raise ValueError("no photo with a usable mask")
        self._means, self._weights = self._natural()

    def __call__(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw a sample.

        Returns:
            What `reader_pair` gives.
        """
        rng = np.random.default_rng(int(torch.randint(1 << 40, (), generator=generator)))
        for _ in range(_DRAWS):
            index = int(rng.choice(len(self._masks), p=self._weights))
            image, mask = self._crop(index, generator)
            inside = mask > 0.5
            if inside.mean() < _SMALLEST or inside.mean() > _LARGEST:
                continue
            pair = self._change(index, image, inside, mask, rng)
            if pair is None:
                continue
            frame = whole_frame(rng)
            real, composite = (frame(picture) for picture in pair)
            if _distance(composite[inside], real[inside]) < _FARTHEST:
                continue
            return self._sample(real, composite, mask, rng)
        raise ValueError(
            f"{_DRAWS} draws gave no composite between {_FARTHEST} and {_NEAREST} dB; are the masks usable?"
        )

    def _natural(self) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, " m"]]:
        """Return the mean colour of every mask's object, and weights that make natural differences genuine."""
        rows, shares = [], []
        for index in self._masks:
            record = self.photos.masks[index]
            parts = regions(self.photos.mask(index)[0].numpy())
            lab = to_lab(_pixels(self.photos.image(record.photo))[parts[[0, 3]].any(0)])
            front = parts[0][parts[[0, 3]].any(0)]
            rows.append((lab[front].mean(0), lab[front].mean(0) - lab[~front].mean(0)))
            shares.append((_STUFF_SHARE if record.noun in _STUFF else 1.0) * (0.5 if record.area > 0.5 else 1.0))
        means, differences = (np.array(column) for column in zip(*rows, strict=True))
        spread = differences.std(0).clip(1e-3)
        wanted = np.minimum((_GENUINE_SPREAD[0], *(spread[1:] * _GENUINE_SPREAD[1:])), spread * 0.97)
        weights = np.exp(-0.5 * (differences**2 * (1 / wanted**2 - 1 / spread**2)).sum(1)) * np.array(shares)
        return means, weights / weights.sum()

    def _crop(self, index: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        mask = self.photos.mask(self._masks[index])
        layers = torch.cat([self.photos.image(self.photos.masks[self._masks[index]].photo), mask])
        cropped = random_crop(layers, self.size, round(0.75 * self.photos.side), 0.35, generator)
        if not 0.02 < cropped[3].mean() < 0.7:
            cropped = random_crop(layers, self.size, self.photos.side, 1.0, generator)
        return _pixels(cropped[:3]), cropped[3].numpy()

    def _change(
        self, index: int, image: np.ndarray, inside: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the real photo and the frame whose foreground is changed; None when no draw came near enough."""
        way = self.ways[self.names[int(rng.choice(len(self.names), p=self.shares))]]
        own = _some(image[inside], rng)
        target = float(np.clip(rng.normal(16.5, 4.5), *_EXTENT))
        best: tuple[float, Change] | None = None
        for _ in range(_TRIES):
            change = way(own, self._reference(index, rng), rng)
            there = own if change.frame is None else change.frame(own)
            distance = _distance(change.object(own), there)
            if distance < _NEAREST and (best is None or abs(distance - target) < abs(best[0] - target)):
                best = (distance, change)
            if best is not None and abs(best[0] - target) < 2.5:
                break
        if best is None:
            return None
        change = best[1]
        changed = image.copy()
        reach = cv2.dilate(mask, np.ones((7, 7), np.uint8)) > 0.01
        changed[reach] = change.object(image[reach])
        if change.frame is None:
            return image, changed
        return change.frame(image.reshape(-1, 3)).reshape(image.shape).astype(np.float32), changed

    def _reference(self, index: int, rng: np.random.Generator) -> Colours:
        """Draw colours of another object: of the same noun where there are enough, else one of like colour."""
        noun = self.photos.masks[self._masks[index]].noun
        alike = [k for k, m in enumerate(self._masks) if noun is not None and self.photos.masks[m].noun == noun]
        if len(alike) > 8 and rng.random() < 0.8:
            chosen = int(rng.choice(alike))
        else:
            few = rng.choice(len(self._masks), int(rng.integers(1, 4)), p=self._weights)
            apart = np.abs((self._means[few] - self._means[index]) * (1, 1.5, 1.5)).sum(1)
            chosen = int(few[apart.argmin()])
        inside = self.photos.mask(self._masks[chosen])[0].numpy() > 0.5
        return _some(_pixels(self.photos.image(self.photos.masks[self._masks[chosen]].photo))[inside], rng)

    def _sample(
        self, real: np.ndarray, composite: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        cut = mask if rng.random() < 0.6 else cv2.GaussianBlur(mask, (5, 5), 1.2)
        soften, quality = _softening(rng), int(rng.integers(50, 97)) if rng.random() < 0.7 else None
        shown = []
        for picture in (composite * cut[..., None] + real * (1 - cut[..., None]), real):
            soft = _tensor(soften(picture))
            shown.append((soft * 255).round() / 255 if quality is None else compress(soft, quality))
        return reader_pair(torch.stack(shown), _spoilt(mask, rng), mask > 0.5, (composite, real), rng)


class WordSampler:
    """Draw pairs as the harmony classifier sees them, whose light words name, for the reader.

    Args:
        sampler: draws the pairs.
    """

    def __init__(self, sampler: HarmonySampler) -> None:
        self.sampler = sampler

    def __call__(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw a sample.

        Returns:
            What `reader_pair` gives.
        """
        rng = np.random.default_rng(int(torch.randint(1 << 40, (), generator=generator)))
        for _ in range(_DRAWS):
            drawn = self.sampler(generator)
            mask = drawn["mask"][0].numpy()
            if _SMALLEST <= (mask > 0.5).mean() <= _LARGEST:
                shown = torch.stack([drawn["composite"], drawn["real"]])
                return reader_pair(shown, mask, mask > 0.5, (_pixels(shown[0]), _pixels(shown[1])), rng)
        raise ValueError(f"{_DRAWS} draws gave no foreground of {_SMALLEST} to {_LARGEST} of the frame")


def reader_pair(
    shown: Float[Tensor, "2 3 s s"],
    mask: Float[np.ndarray, "s s"],
    inside: Bool[np.ndarray, "s s"],
    pixels: tuple[Float[np.ndarray, "s s 3"], Float[np.ndarray, "s s 3"]],
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Join what the reader sees of a composite and of the photo under it.

    Args:
        shown: Composite and photo, as they are looked at.
        mask: Foreground mask, as it is given to the reader.
        inside: Where the foreground really is.
        pixels: Composite and photo before anything was spoilt.
        rng: Chooses the pixels that are scored.

    Returns:
        `image` (2 x 3 x s x s: composite and photo), `parts` (5 x s x s) and `measured` (2 x k): what the network sees.
        `before` and `after` (192 x 3): colours of the composite's foreground and what they really are.
    """
    parts = torch.from_numpy(regions(mask))
    scored = rng.choice(np.flatnonzero(inside), _SCORED)
    before, after = (torch.from_numpy(picture.reshape(-1, 3)[scored]) for picture in pixels)
    return {
        "image": shown,
        "parts": parts.float(),
        "measured": torch.stack([statistics.statistics(image, parts) for image in shown]),
        "before": before,
        "after": after,
    }


def whole_frame(rng: np.random.Generator) -> FrameMap:
    """Draw gammas, saturation, contrast, gain and haze of a whole frame; a third of the frames stay as they are."""
    if rng.random() < 0.35:
        return lambda picture: picture
    gamma = np.exp2(rng.normal(0, 0.28) + rng.normal(0, 0.06, 3)).astype(np.float32)
    saturation, contrast, gain = (np.float32(np.exp2(rng.normal(0, spread))) for spread in (0.3, 0.15, 0.12))
    haze = np.float32(rng.uniform(0, 0.35) if rng.random() < 0.1 else 0)
    air = (0.5 * rng.uniform(0.5, 0.95, 3) + 0.4).astype(np.float32)

    def apply(picture: np.ndarray) -> np.ndarray:
        bent = picture.clip(1e-4, 1) ** gamma
        grey = bent @ np.array([0.3, 0.59, 0.11], np.float32)
        coloured = grey[..., None] + (bent - grey[..., None]) * saturation
        shown = ((coloured - 0.45) * contrast + 0.45) * gain
        return (shown * (1 - haze) + air * haze).clip(0, 1).astype(np.float32)

    return apply


def _spoilt(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Leave a mask as it is, or widen or shrink it by one or two pixels, one time in four."""
    kind, reach = rng.random(), 2 * int(rng.integers(1, 3)) + 1
    if kind >= 0.25:
        return mask
    changed = (cv2.dilate if kind < 0.14 else cv2.erode)(mask, np.ones((reach, reach), np.uint8))
    return changed if _SMALLEST <= (changed > 0.5).mean() <= _LARGEST else mask


def _softening(rng: np.random.Generator) -> FrameMap:
    """Draw a blur, six times in ten, and noise, four times in ten."""
    sigma = float(rng.uniform(0.35, 1.4)) if rng.random() < 0.6 else 0.0
    noise = float(rng.uniform(0.003, 0.02)) if rng.random() < 0.4 else 0.0

    def soften(picture: np.ndarray) -> np.ndarray:
        blurred = cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture
        return blurred + rng.normal(0, noise, picture.shape) if noise else blurred

    return soften


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(-10 * np.log10(((first - second) ** 2).mean() + 1e-9))


def _some(colours: Colours, rng: np.random.Generator) -> Float[np.ndarray, "m 3"]:
    return colours[rng.integers(0, len(colours), _COLOURS)]


def _pixels(image: Float[Tensor, "3 h w"]) -> Float[np.ndarray, "h w 3"]:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _tensor(picture: Float[np.ndarray, "h w 3"]) -> Float[Tensor, "3 h w"]:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float().clamp(0, 1)
