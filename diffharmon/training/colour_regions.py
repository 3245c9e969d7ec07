"""Regions of even colour as masks: light is a property of any surface, so photos without objects can be learnt from."""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from skimage.segmentation import felzenszwalb

_SCALES = (150.0, 600.0)  # larger ones merge more
_SIGMA = 0.9
_SMALLEST, _LARGEST = 0.02, 0.45  # share of the frame
_BORDER = 0.4  # share of the frame's border that a region may cover
_SOLID = 0.5  # share of its convex hull that a region fills at least


def colour_regions(image: UInt8[np.ndarray, "h w 3"], count: int, seed: int) -> list[Bool[np.ndarray, "h w"]]:
    """Pick regions of a photo at random (Felzenszwalb and Huttenlocher 2004), holes filled.

    Args:
        image: RGB.
        count: Regions at most.
        seed: Chooses how far regions are merged, and which are picked.
    """
    rng = np.random.default_rng(seed)
    smallest = int(0.75 * _SMALLEST * image.shape[0] * image.shape[1])
    labels = felzenszwalb(image, scale=float(rng.uniform(*_SCALES)), sigma=_SIGMA, min_size=smallest)
    found = [region for number in range(labels.max() + 1) if (region := _filled(labels == number)) is not None]
    return [found[place] for place in rng.permutation(len(found))[:count]]


def _filled(region: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"] | None:
    """Smooth a region and fill its holes; None for one that is too small or large, on the border, or ragged."""
    border = np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]])
    if not _SMALLEST < region.mean() < _LARGEST or border.mean() > _BORDER:
        return None
    smooth = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(smooth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if smooth.mean() < _SMALLEST:
        return None
    outline = max(outlines, key=cv2.contourArea)
    if smooth.sum() < _SOLID * cv2.contourArea(cv2.convexHull(outline)):
        return None
    return cv2.drawContours(np.zeros_like(smooth), [outline], -1, 1, -1) > 0
