"""A change of colour as a three-dimensional lookup table that image and video programs read (.cube files)."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import InputError

POINTS = 33  # along each axis: what Photoshop, Resolve and Nuke take without resampling
_DEGREE = 3
_RIDGE = 1e-4
_MAX_PIXELS = 200_000  # of the foreground that are fitted
_EXTRAPOLATION = 0.05  # distance from the fitted colours, on [0, 1], over which the change fades to none


@dataclass(frozen=True)
class Lut:
    """Output colours on a regular grid of input colours, both RGB in [0, 1].

    Attributes:
        table: Output colour at ``table[r, g, b]``; the ends of each axis are 0 and 1.
        error: Root mean square difference from the result it was made of, over the foreground, in [0, 1].
    """

    table: Float[np.ndarray, "p p p 3"]
    error: float

    def apply(self, colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Look colours up with trilinear interpolation."""
        return interpolate(self.table, colours)

    def save(self, path: str | Path, title: str = "diffharmon") -> None:
        """Write the table as an Adobe Cube file (specification 1.0): red changes fastest.

        Args:
            path: The file.
            title: What readers show; the format has no letters beyond ASCII, which become question marks.

        Raises:
            InputError: The name does not end in ``.cube``.
        """
        path = Path(path)
        if path.suffix.lower() != ".cube":
            raise InputError(f"lookup tables are written as .cube files, got {path.name}")
        rows = self.table.transpose(2, 1, 0, 3).reshape(-1, 3)
        plain = title.encode("ascii", "replace").decode().replace('"', "'")
        header = [f'TITLE "{plain}"', f"LUT_3D_SIZE {len(self.table)}", "DOMAIN_MIN 0 0 0", "DOMAIN_MAX 1 1 1"]
        lines = header + [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")


def fit(
    before: Float[Tensor, "3 h w"], after: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], points: int = POINTS
) -> Lut:
    """Fit one map of colour to what happened to the foreground.

    A cubic polynomial of RGB is fitted to the change; away from the colours that the foreground has, the change fades
    out, since nothing is known there. A change that varies over the object cannot be expressed: see ``Lut.error``.

    Args:
        before: The composite, RGB in [0, 1].
        after: The result.
        mask: Foreground mask in [0, 1]; pixels above one half count.
        points: Grid points along each axis.

    Raises:
        InputError: No pixel of the mask is above one half.
    """
    inside = (mask[0] > 0.5).cpu().numpy()
    source, target = (image.detach().cpu().numpy()[:, inside].T.astype(np.float64) for image in (before, after))
    if not len(source):
        raise InputError("a lookup table needs a foreground: no pixel of the mask is above one half")
    step = -(-len(source) // _MAX_PIXELS)
    few, change = source[::step], (target - source)[::step]
    features = _monomials(few)
    normal = features.T @ features / len(few) + _RIDGE * np.eye(features.shape[1])
    weights = np.linalg.solve(normal, features.T @ change / len(few))
    axis = np.linspace(0, 1, points)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    table = (grid + _known(few, points)[:, None] * (_monomials(grid) @ weights)).clip(0, 1)
    table = table.reshape(points, points, points, 3)
    difference = interpolate(table, source) - target
    return Lut(table, float(np.sqrt((difference**2).mean())))


def interpolate(table: Float[np.ndarray, "p p p 3"], colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Interpolate a table trilinearly at colours in [0, 1]."""
    last = len(table) - 1
    place = np.clip(colours, 0, 1) * last
    lower = np.minimum(place.astype(int), last - 1)
    share = place - lower
    result = np.zeros_like(colours, dtype=np.float64)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1, keepdims=True)
        result += weight * table[tuple((lower + corner).T)]
    return result


def _monomials(colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n k"]:
    """All products of up to three of R, G, B and 1, around mid grey."""
    padded = np.concatenate((colours - 0.5, np.ones_like(colours[:, :1])), axis=1)
    return np.stack([padded[:, list(term)].prod(1) for term in combinations_with_replacement(range(4), _DEGREE)], 1)


def _known(colours: Float[np.ndarray, "n 3"], points: int) -> Float[np.ndarray, " m"]:
    """How well each grid point is supported by colours: 1 next to one, falling to 0 away from them."""
    from scipy.ndimage import distance_transform_edt

    occupied = np.zeros((points,) * 3, bool)
    place = np.clip(colours, 0, 1) * (points - 1)
    for corner in np.ndindex(2, 2, 2):
        occupied[tuple(np.minimum(place.astype(int) + corner, points - 1).T)] = True
    distance = distance_transform_edt(~occupied) / (points - 1)
    return np.exp(-distance.reshape(-1) / _EXTRAPOLATION)
