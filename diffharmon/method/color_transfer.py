"""Classical colour transfer: the foreground takes the background's colour statistics."""

import time
import warnings
from collections.abc import Callable
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from skimage.color import lab2rgb, rgb2lab
from skimage.exposure import match_histograms

from diffharmon.errors import InputError
from diffharmon.images import MASK_THRESHOLD
from diffharmon.method.baseline import keep_background, outcome
from diffharmon.types import Composite, Cost, Observer, Outcome

Pixels = Float[np.ndarray, "n 3"]
Others = Float[np.ndarray, "m 3"]

# Far above rounding noise in CIELAB, whose channels span about 100, and far below any visible contrast.
FLAT = 1e-3
# Added to both covariances of RGB in [0, 1]: a standard deviation of 0.001, a quarter of an 8-bit level.
RIDGE = 1e-6


def reinhard(source: Pixels, target: Others) -> Pixels:
    """Give each CIELAB channel of ``source`` the mean and standard deviation it has in ``target``.

    Reinhard et al., "Color Transfer between Images", 2001, with CIELAB in place of their l-alpha-beta space.

    Args:
        source: RGB in [0, 1].
        target: RGB in [0, 1], any number of pixels.

    Returns:
        RGB, clipped to [0, 1] by the way back from CIELAB.
    """
    source, target = (rgb2lab(pixels[:, None])[:, 0] for pixels in (source, target))
    contrast = (target.std(axis=0) + FLAT) / (source.std(axis=0) + FLAT)
    moved = (source - source.mean(axis=0)) * contrast + target.mean(axis=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*negative Z values")  # colours out of gamut are clipped anyway
        return lab2rgb(moved[:, None])[:, 0]


def mkl(source: Pixels, target: Others) -> Pixels:
    """Give ``source`` the mean and covariance of ``target`` by the linear map that moves colours least.

    The Monge-Kantorovitch solution of Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping for
    example-based colour transfer", 2007: with covariances A and B it is A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2.

    Args:
        source: RGB in [0, 1].
        target: RGB in [0, 1], any number of pixels.

    Returns:
        RGB, possibly outside [0, 1].
    """
    source_covariance, target_covariance = (
        np.cov(pixels, rowvar=False, bias=True) + RIDGE * np.eye(3) for pixels in (source, target)
    )
    root = _root(source_covariance)
    inverse = np.linalg.inv(root)
    mapping = inverse @ _root(root @ target_covariance @ root) @ inverse
    return (source - source.mean(axis=0)) @ mapping + target.mean(axis=0)


def _root(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """Return the symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def histogram(source: Pixels, target: Others) -> Pixels:
    """Give each RGB channel of ``source`` the histogram it has in ``target``; values stay those of ``target``."""
    return match_histograms(source[:, None], target[:, None], channel_axis=-1)[:, 0]


TRANSFERS: dict[str, Callable[[Pixels, Others], Pixels]] = {
    "reinhard": reinhard,
    "mkl": mkl,
    "histogram": histogram,
}


class ColorTransfer:
    """Moves the foreground's colours to the background's statistics.

    Args:
        kind: ``reinhard`` (mean and deviation in CIELAB), ``mkl`` (mean and covariance in RGB) or ``histogram`` (of
            each RGB channel).
        band: Only background this near to the foreground gives the statistics, as a fraction of the longer side of
            the foreground's bounding box; 0 takes all of it.
        strength: How far the colours move: 0 not at all, 1 all the way, as published.
    """

    def __init__(
        self,
        kind: Literal["reinhard", "mkl", "histogram"] = "reinhard",
        band: Annotated[float, Ge(0)] = 0.0,
        strength: Annotated[float, Ge(0), Le(1)] = 1.0,
    ) -> None:
        self.kind = kind
        self.band = band
        self.strength = strength

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the composite with its foreground's colours moved.

        Raises:
            InputError: If the mask leaves no foreground or no background.
        """
        start = time.perf_counter()
        foreground = composite.mask[0].cpu().numpy() > MASK_THRESHOLD
        if foreground.all() or not foreground.any():
            part = "background" if foreground.all() else "foreground"
            raise InputError(f"{composite.name}: the mask leaves no {part} to take colours from")
        colours = composite.image.permute(1, 2, 0).cpu().double().numpy().copy()
        source, target = colours[foreground], colours[self.surroundings(foreground)]
        moved = TRANSFERS[self.kind](source, target).clip(0, 1)
        colours[foreground] = (1 - self.strength) * source + self.strength * moved
        image = keep_background(composite, torch.from_numpy(colours).permute(2, 0, 1))
        return outcome(image, 0, {"transfer": Cost(time.perf_counter() - start)})

    def surroundings(self, foreground: np.ndarray) -> np.ndarray:
        """Return where the background lies that gives the statistics, as booleans."""
        if self.band == 0:
            return ~foreground
        rows, columns = np.nonzero(foreground)
        side = max(np.ptp(rows), np.ptp(columns)) + 1
        distance = cv2.distanceTransform((~foreground).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return ~foreground & (distance <= max(1.0, self.band * side))
