"""Ways of making a composite from a real photo, as maps of colour: what iHarmony4 does and what resembles it.

HCOCO and HFlickr of iHarmony4 (Cong et al., CVPR 2020) move an object's colours to those of an object of like kind,
HAdobe5k puts a retouched object into the unfinished photo, Hday2night one time of day into another; ccHarmony (Niu et
al., 2022) changes measured illuminations. Colours stay inside the range of real objects, so that clipping gives nothing
away.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float

from diffharmon.condition import grades
from diffharmon.condition.relighting import Relighting, polynomial
from diffharmon.method.color_transfer import mkl
from diffharmon.training.captions import NEUTRAL, sample_words

Colours = Float[np.ndarray, "n 3"]
Map = Callable[[Colours], Colours]

_LUMINANCE = np.array([0.3, 0.59, 0.11], np.float32)
_TIMES = (
    *("dawn", "sunrise", "daylight", "twilight", "sunset", "dusk", "dark", "night"),
    *("cloudy", "sunny", "rainy", "clear", "misty", "stormy"),
)
_LARGEST_SHIFT = 0.25  # of the mean colour; a measured change of illumination beyond it is drawn again


@dataclass(frozen=True)
class Change:
    """How a photo becomes a composite: ``frame`` maps the whole photo, ``object`` the foreground of the given photo."""

    object: Map
    frame: Map | None = None


Way = Callable[[Colours, Colours, np.random.Generator], Change]
"""From colours of the foreground and of a reference object, draws a change."""


def quantile(own: Colours, other: Colours, rng: np.random.Generator) -> Change:
    """Match each channel's quantiles, in RGB or CIELAB, to another object's, 0.5 to 1.1 of the way."""
    strength, count, in_lab = rng.uniform(0.5, 1.1), int(rng.integers(4, 20)), rng.random() < 0.4
    levels = np.linspace(0.01, 0.99, count)
    source, target = (to_lab(own), to_lab(other)) if in_lab else (own, other)
    knots = np.maximum.accumulate(np.quantile(source, levels, axis=0) + np.arange(count)[:, None] * 1e-5, 0)
    values = np.quantile(target, levels, axis=0)

    def change(colours: Colours) -> Colours:
        given = to_lab(colours) if in_lab else colours
        moved = given.copy()
        for channel in range(3):
            here, first, last = given[:, channel], knots[0, channel], knots[-1, channel]
            matched = np.interp(here, knots[:, channel], values[:, channel])
            matched += np.minimum(here - first, 0) + np.maximum(here - last, 0)  # slope 1 beyond the knots
            moved[:, channel] = here + strength * (matched - here)
        return to_rgb(moved) if in_lab else moved.clip(0, 1)

    return Change(change)


def curves(own: Colours, other: Colours, rng: np.random.Generator) -> Change:
    """Bend the tones by gammas per channel, sometimes a logistic contrast curve and a change of saturation."""
    gamma = np.exp2(rng.normal(0, 0.55) + rng.normal(0, 0.22, 3)).astype(np.float32)
    contrast = rng.normal(0, 1.6) if rng.random() < 0.6 else 0.0
    middle = rng.uniform(0.3, 0.7)
    saturation = np.exp2(rng.normal(0, 0.5)) if rng.random() < 0.5 else 1.0

    def logistic(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-2 * abs(contrast) * (values - middle)))

    def change(colours: Colours) -> Colours:
        bent = colours.clip(1e-4, 1) ** gamma
        if abs(contrast) > 0.1:
            black, white = logistic(np.zeros(1)), logistic(np.ones(1))
            curved = (logistic(bent) - black) / (white - black)
            bent = curved if contrast > 0 else (bent + 0.7 * (bent - curved)).clip(0, 1)
        return _saturate(bent, saturation)

    return Change(change)


def grade(own: Colours, other: Colours, rng: np.random.Generator) -> Change:
    """Finish the foreground under words of the vocabulary, 0.35 to 1.15 of their strength."""
    generator = _generator(rng)
    words = sample_words(generator, exclude=(NEUTRAL,))
    drawn = grades.sample(words, generator, strength=float(rng.uniform(0.35, 1.15)))
    return Change(lambda colours: _of_columns(drawn(_columns(colours))))


def time_of_day(own: Colours, other: Colours, rng: np.random.Generator) -> Change:
    """Finish the frame under one time of day or weather and the foreground under another."""
    drawn = [
        grades.sample([str(rng.choice(_TIMES))], _generator(rng), strength=float(rng.uniform(0.5, 1))) for _ in range(2)
    ]
    frame, inside = (lambda colours, g=g: _of_columns(g(_columns(colours))) for g in drawn)
    return Change(inside, frame)


def retouch(own: Colours, other: Colours, rng: np.random.Generator) -> Change:
    """Make the frame look unfinished (darker, flatter, paler) and leave the foreground finished, slightly retouched."""
    exposure, flat = (np.exp2(-abs(rng.normal(*spread))) for spread in ((0.55, 0.5), (0.25, 0.3)))
    pale = np.exp2(-abs(rng.normal(0.3, 0.35)))
    balance = np.exp2(rng.normal(0, 0.13) * np.array([1, 0, -1]) + rng.normal(0, 0.05) * np.array([0.5, -1, 0.5]))
    middle = rng.uniform(0.25, 0.5) * exposure**0.45
    gamma = np.exp2(rng.normal(0, 0.18) + rng.normal(0, 0.06, 3))
    contrast, saturation = np.exp2(rng.normal(0.1, 0.2)), np.exp2(rng.normal(0.05, 0.25))

    def unfinished(colours: Colours) -> Colours:
        shown = (colours.clip(0, 1) ** 2.2 * exposure * balance).clip(0, 1) ** (1 / 2.2)
        return _saturate((shown - middle) * flat + middle, pale)

    def finished(colours: Colours) -> Colours:
        return _saturate((colours.clip(1e-4, 1) ** gamma - 0.5) * contrast + 0.5, saturation)

    return Change(finished, unfinished)


def reinhard(own: Colours, other: Colours, rng: np.random.Generator) -> Change:
    """Move mean and spread in CIELAB to another object's, 0.6 to 1 of the way (Reinhard et al. 2001)."""
    source, target, strength = to_lab(own), to_lab(other), np.float32(rng.uniform(0.6, 1))
    mean, spread = source.mean(0), ((target.std(0) + 0.5) / (source.std(0) + 0.5)).clip(0.4, 2.5)
    offset = target.mean(0)

    def change(colours: Colours) -> Colours:
        given = to_lab(colours)
        return to_rgb(given + strength * ((given - mean) * spread + offset - given))

    return Change(change)


def covariance(own: Colours, other: Colours, rng: np.random.Generator) -> Change:
    """Move mean and covariance in RGB to another object's, 0.6 to 1 of the way (Pitie and Kokaram 2007)."""
    strength = rng.uniform(0.6, 1)
    moved = mkl(own.astype(float), other.astype(float))
    matrix = np.linalg.lstsq(np.c_[own, np.ones(len(own))], moved, rcond=None)[0]
    return Change(
        lambda colours: (colours + strength * (np.c_[colours, np.ones(len(colours))] @ matrix - colours)).clip(0, 1)
    )


@dataclass(frozen=True)
class Relight:
    """Change the illumination as between two measured ones, 0.7 to 1.3 of the way."""

    relighting: Relighting

    def __call__(self, own: Colours, other: Colours, rng: np.random.Generator) -> Change:
        """Draw a change."""
        for _ in range(8):
            first, second = (int(place) for place in rng.integers(0, len(self.relighting.forward), 2))
            if np.abs((self._between(own, first, second) - own).mean(0)).max() <= _LARGEST_SHIFT:
                break
        strength = np.float32(rng.uniform(0.7, 1.3))

        def change(colours: Colours) -> Colours:
            return (colours + strength * (self._between(colours, first, second) - colours)).clip(0, 1)

        return Change(change)

    def _between(self, colours: Colours, first: int, second: int) -> Colours:
        reference = polynomial(_columns(colours), self.relighting.forward[first])
        return _of_columns(polynomial(reference, self.relighting.backward[second]))


WAYS: dict[str, Way] = {
    "quantile": quantile,
    "curves": curves,
    "grade": grade,
    "time_of_day": time_of_day,
    "retouch": retouch,
    "reinhard": reinhard,
    "covariance": covariance,
}
"""All ways but measured relighting, which needs an archive: see `Relight`."""


def to_lab(colours: Colours) -> Colours:
    """Convert sRGB in [0, 1] to CIELAB, fast and in single precision."""
    return cv2.cvtColor(np.ascontiguousarray(colours, np.float32)[:, None], cv2.COLOR_RGB2LAB)[:, 0]


def to_rgb(colours: Colours) -> Colours:
    """Convert CIELAB to sRGB, clipped to [0, 1]."""
    return cv2.cvtColor(np.ascontiguousarray(colours, np.float32)[:, None], cv2.COLOR_LAB2RGB)[:, 0].clip(0, 1)


def _saturate(colours: Colours, factor: float) -> Colours:
    grey = (colours @ _LUMINANCE)[:, None]
    return (grey + (colours - grey) * factor).clip(0, 1)


def _columns(colours: Colours) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(colours.T[:, :, None])).float()


def _of_columns(image: torch.Tensor) -> Colours:
    return image[:, :, 0].T.numpy()


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(1 << 40)))
