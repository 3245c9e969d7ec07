"""One channel of a mask file: its levels as they are stored, and what they are worth between 0 and 1."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer, Num
from torch import Tensor

from diffharmon.types.levels import bands, hold

MASK_THRESHOLD = 100 / 255


@dataclass(frozen=True)
class Plane:
    """Levels of one channel and the one that is worth 1; integers are never made floats all at once."""

    values: Num[np.ndarray, "h w"]
    peak: float

    def worth(self, level: np.number) -> np.float32:
        """Return what a level is worth in [0, 1]."""
        return np.float32(level) / np.float32(self.peak)

    def above(self, threshold: float) -> Bool[np.ndarray, "h w"]:
        """Tell which pixels are worth more than a threshold."""
        if self.values.dtype.kind == "f":
            return self.values.astype(np.float32) / np.float32(self.peak) > np.float32(threshold)
        worth = np.arange(int(self.values.max()) + 1, dtype=np.float32) / np.float32(self.peak)
        return (worth > np.float32(threshold))[self.values]

    def only(self, kept: Bool[np.ndarray, "h w"]) -> Float[Tensor, "1 h w"]:
        """Return the worth of the pixels that are kept, 0 for the others; integers of 8 and 16 bits stay held."""
        values = np.where(kept, self.values, self.values.dtype.type(0))[None]
        if values.dtype in (np.uint8, np.uint16):
            return hold(torch.from_numpy(values), self.peak)
        return torch.from_numpy(values.astype(np.float32) / np.float32(self.peak))


def full_scale(values: Num[np.ndarray, "h w"], peak: float) -> Plane:
    """Find which level is worth 1, by meaning: of files that hold only 0 and 1, or 8-bit levels in 16 bits."""
    highest = values.max()
    if peak > 1:
        peak = 1.0 if highest <= 1 else 255.0 if highest <= 255 else peak
    return Plane(values, peak)


def two_levels(plane: Plane) -> Plane:
    """Make a plane that holds two levels, on both sides of the threshold, black and white."""
    values = plane.values
    low, high = values.min(), values.max()
    if plane.worth(low) <= MASK_THRESHOLD < plane.worth(high) and bool(((values == low) | (values == high)).all()):
        return Plane((values == high).astype(np.uint8), 1.0)
    return plane


def histogram(values: Integer[np.ndarray, "h w"]) -> Integer[np.ndarray, " n"]:
    """Count how often each level from 0 to the highest occurs."""
    length = int(values.max()) + 1
    return sum(
        (np.bincount(values[rows].ravel(), minlength=length) for rows in bands(*values.shape)),
        start=np.zeros(length, np.int64),
    )
