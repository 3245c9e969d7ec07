"""Carrying the change of light, not the pixels, from the backbone's canvas to the photo at full size."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diffharmon.condition.change import change_image
from diffharmon.condition.light import named_change
from diffharmon.types import Composite, Edited
from diffharmon.types.levels import Patch, floats, patched

_CLIPPED = 4 / 255  # so close to black or white, a value may be cut off and says little about the change
_CLIPPED_WEIGHT = 0.05
_GLOBAL_RIDGE = 3e-4
_ROWS = 32  # rows worked on at a time: of a 24-megapixel photo they fit a core's cache


@dataclass(frozen=True)
class _Change:
    """What is added to a colour: ``curve @ (colour, colour²) + shift`` everywhere, ``gain @ colour + offset`` locally.

    The local arrays are None when there is no local part.
    """

    curve: Float[np.ndarray, "3 6"]
    shift: Float[np.ndarray, " 3"]
    gain: Float[np.ndarray, "y x 3 3"] | None = None
    offset: Float[np.ndarray, "y x 3"] | None = None


class Detail:
    """Fits the smooth change of colour between the two branches of the edit and applies it to the full-size photo.

    Both branches went through the same autoencoder and the same attention, so that what they lose in texture and shape
    is mostly common to both, and their difference is the change of light. It is modelled as one quadratic map of RGB
    for the whole foreground plus a locally varying affine remainder, both fitted on foreground pixels by ridge
    regression, the latter as in the guided filter (He et al., TPAMI 2013); the ridge draws flat regions towards the
    global map. The maps are smooth and are applied to the photo's own pixels (as in the fast guided filter,
    arXiv 1505.00996), so texture and edges stay.

    Args:
        strength: 1 applies the change as the model says, 0 leaves the photo as it is, up to 2 exaggerates.
        calibrate: Scale the change, between 0 and 2, so that over the foreground it comes nearest to what the words say
            (`diffharmon.condition.light`), for a small model whose edits go the right way but not the right distance.
        read_share: Where the describer gave its change of light in numbers, this share of the result is that change
            itself and the rest is the edit's: words leave a part of it out, and a small model does not follow all of
            them.
        locality: Share of the local remainder: 0 is one map for the whole foreground, 1 follows the model's shading.
        radius: Half the side of the local window, as a fraction of the canvas's side (of a square of the same area).
        epsilon: Ridge of the local fit, in squared units of [0, 1]; larger follows the model's texture less.
    """

    def __init__(
        self,
        strength: Annotated[float, Ge(0), Le(2)] = 1.0,
        calibrate: bool = False,
        read_share: Annotated[float, Ge(0), Le(1)] = 0.8,
        locality: Annotated[float, Ge(0), Le(1)] = 0.5,
        radius: Annotated[float, Gt(0), Le(1)] = 0.1,
        epsilon: Annotated[float, Gt(0)] = 0.01,
    ) -> None:
        self.strength, self.calibrate, self.read_share = strength, calibrate, read_share
        self.locality, self.radius, self.epsilon = locality, radius, epsilon

    def recompose(
        self, composite: Composite, current: Float[Tensor, "3 h w"], edited: Edited
    ) -> Float[Tensor, "3 h w"]:
        """Return ``current`` with its foreground changed as the edit changed it, the background as the composite's."""
        if edited.source is None:
            raise ValueError("the change of light is read off both branches of the edit, got the edited one alone")
        source, target = _array(edited.source), _array(edited.edited)
        small = F.interpolate(composite.mask.to(current)[None].float(), source.shape[:2], mode="area")[0, 0]
        change = self._fit(source, target, _trust(source, target) * small.cpu().double().numpy())
        strength = self.strength * (_distance(change, edited, small) if self.calibrate else 1)
        read = edited.description.change if edited.description is not None else None
        share = self.read_share if read is not None else 0.0
        planes = _planes(change, strength * (1 - share), current)
        if read is not None and share > 0:
            image = edited.source_image
            wanted = change_image(read, image, (small[None] > 0).to(image))
            curve = _fit_curve(_array(image), _array(wanted), small.cpu().double().numpy())
            planes = planes + _planes(curve, self.strength * share, current)
        return _apply(planes, composite, current)

    def _fit(
        self, source: Float[np.ndarray, "y x 3"], target: Float[np.ndarray, "y x 3"], weight: Float[np.ndarray, "y x"]
    ) -> _Change:
        difference = target - source
        whole = _fit_curve(source, target, weight)
        if self.locality == 0:
            return whole
        side = 2 * max(1, round(self.radius * math.sqrt(weight.size))) + 1

        def window(values: np.ndarray) -> np.ndarray:
            flat = values.reshape(*values.shape[:2], -1)
            blurred = [
                cv2.blur(plane, (side, side), borderType=cv2.BORDER_CONSTANT) for plane in np.moveaxis(flat, -1, 0)
            ]
            return np.stack(blurred, axis=-1).reshape(values.shape)

        remainder = difference - np.concatenate((source, source**2), axis=-1) @ whole.curve.T - whole.shift
        gain, offset = _regress(source, remainder, weight, window, self.epsilon)
        # The guided filter's second mean: each pixel averages the maps of all windows it lies in, by their foreground.
        coverage = window(weight)[..., None]
        total = np.maximum(window(coverage), 1e-12)
        gain, offset = window(gain * coverage[..., None]) / total[..., None], window(offset * coverage) / total
        return replace(whole, gain=self.locality * gain, offset=self.locality * offset)


def _fit_curve(
    source: Float[np.ndarray, "y x 3"], target: Float[np.ndarray, "y x 3"], weight: Float[np.ndarray, "y x"]
) -> _Change:
    """Fit one quadratic map for the whole foreground."""
    features = np.concatenate((source, source**2), axis=-1)
    curve, shift = _regress(features, target - source, weight, _whole, _GLOBAL_RIDGE)
    return _Change(curve[0, 0], shift[0, 0])


def _distance(change: _Change, edited: Edited, mask: Float[Tensor, "y x"]) -> float:
    """Return the factor that brings a change nearest to what the description's words name, in least squares.

    Where the description knows its change of light in numbers, those count: words leave something out.
    """
    if edited.description is None:
        return 1.0
    image = edited.source_image.to(mask)
    if edited.description.change is not None:
        wanted = change_image(edited.description.change, image, mask[None]) - image
    else:
        wanted = named_change(image, edited.description.foreground_weighted, edited.description.background_weighted)
    added = _evaluate(change, image)
    square = (mask * added.square()).sum()
    return float(((mask * wanted * added).sum() / square.clamp_min(1e-9)).clamp(0, 2))


def _regress(
    features: Float[np.ndarray, "y x k"],
    change: Float[np.ndarray, "y x 3"],
    weight: Float[np.ndarray, "y x"],
    mean: Callable[[np.ndarray], np.ndarray],
    ridge: float,
) -> tuple[Float[np.ndarray, "v u 3 k"], Float[np.ndarray, "v u 3"]]:
    """Fit ``change = gain @ features + offset`` by weighted ridge regression over what ``mean`` averages.

    The ridge draws the gain to zero, hence the map to a plain shift, where colours hardly vary.
    """
    total = mean(weight)
    share = np.where(total > 1e-9, 1 / np.maximum(total, 1e-9), 0)[..., None]
    weighted = weight[..., None] * features
    features_mean, change_mean = mean(weighted) * share, mean(weight[..., None] * change) * share
    square = mean(weighted[..., :, None] * features[..., None, :]) * share[..., None]
    cross = mean(change[..., :, None] * weighted[..., None, :]) * share[..., None]
    spread = square - features_mean[..., :, None] * features_mean[..., None, :] + ridge * np.eye(features.shape[-1])
    slope = cross - change_mean[..., :, None] * features_mean[..., None, :]
    # spread is symmetric: slope @ inverse(spread) is the transpose of solve(spread, slope transposed).
    gain = np.linalg.solve(spread, slope.swapaxes(-1, -2)).swapaxes(-1, -2)
    return gain, change_mean - np.einsum("...ij,...j->...i", gain, features_mean)


def _whole(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=(0, 1), keepdims=True)


def _array(image: Float[Tensor, "3 y x"]) -> Float[np.ndarray, "y x 3"]:
    return image.detach().cpu().permute(1, 2, 0).double().clamp(0, 1).numpy()


def _trust(source: Float[np.ndarray, "y x 3"], target: Float[np.ndarray, "y x 3"]) -> Float[np.ndarray, "y x"]:
    """Weigh pixels less that are cut off at black or white in either branch."""
    both = np.concatenate((source, target), axis=-1)
    margin = np.minimum(both, 1 - both).min(axis=-1)
    return np.clip(margin / _CLIPPED, _CLIPPED_WEIGHT, 1)


def _evaluate(change: _Change, image: Float[Tensor, "3 y x"]) -> Float[Tensor, "3 y x"]:
    """Evaluate the change on an image of the size it was fitted at."""
    planes = _planes(change, 1.0, image)
    maps = planes.maps.expand(-1, -1, *image.shape[-2:])
    return (maps[:, :3] * image).sum(1) + maps[:, 3] + torch.tensordot(planes.square, image**2, 1)


@dataclass(frozen=True)
class _Planes:
    """A change ready for full-size photos, its strength multiplied in.

    The global curve's linear part is folded into the low-resolution maps, since bilinear interpolation leaves a
    constant as it is; only the squares stay apart.

    Attributes:
        maps: For each output channel the factors of red, green, blue and the offset; 1 x 1 without a local part.
        square: Factors of the squared colours.
    """

    maps: Float[Tensor, "3 4 y x"]
    square: Float[Tensor, "3 3"]

    def __add__(self, other: "_Planes") -> "_Planes":
        """Apply both changes; maps of one cell hold everywhere."""
        return _Planes(self.maps + other.maps, self.square + other.square)


def _planes(change: _Change, strength: float, like: Tensor) -> _Planes:
    """Fold the parts of a change into maps on the device and in the precision of ``like``."""
    affine = np.concatenate((change.curve[:, :3], change.shift[:, None]), axis=1)[..., None, None]
    if change.gain is not None and change.offset is not None:
        local = np.concatenate((change.gain, change.offset[..., None]), axis=-1)
        affine = affine + local.transpose(2, 3, 0, 1)
    maps, square = (torch.from_numpy(strength * values).float().to(like) for values in (affine, change.curve[:, 3:]))
    return _Planes(maps, square)


def _apply(planes: _Planes, composite: Composite, current: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Add the change to the foreground of ``current``, a few rows at a time and no wider than the mask is there.

    Rows between the same two rows of the maps go together, so that these are enlarged once and only blended per row.
    """
    mask = composite.mask.to(current)
    background = composite.image.to(current)
    height, width = current.shape[-2:]
    inside = mask[0] > 0
    rows = _extent(inside.any(1))
    above, below, down = _between(planes.maps.shape[2], height, rows, current)
    along = _between(planes.maps.shape[3], width, slice(0, width), current)
    edges = list(zip(above.tolist(), below.tolist(), strict=True))
    patches = []
    start = rows.start
    for count in _runs(above, _ROWS):
        offset, stop = start - rows.start, start + count
        columns = _extent(inside[start:stop].any(0))
        across = (along[0][columns], along[1][columns], along[2][columns])
        here, cover = floats(current[:, start:stop, columns]), floats(mask[0, start:stop, columns])
        top, bottom = (_widen(planes.maps[:, :, edge], across)[:, :, None] for edge in edges[offset])
        share = down[offset : offset + count, None]
        added = torch.tensordot(planes.square, here.square(), 1)
        for source in range(3):
            added.addcmul_(torch.lerp(top[:, source], bottom[:, source], share), here[source])
        added += torch.lerp(top[:, 3], bottom[:, 3], share)
        changed = torch.addcmul(here, cover, added).clamp_(0, 1)
        behind = floats(background[:, start:stop, columns])
        patches.append(Patch(start, columns.start, torch.where(inside[start:stop, columns], changed, behind)))
        start = stop
    return patched(background, patches)


def _runs(values: Int[Tensor, " n"], longest: int) -> Iterator[int]:
    """Yield the lengths of the runs of equal values, none longer than ``longest``."""
    for length in torch.unique_consecutive(values, return_counts=True)[1].tolist():
        yield from [longest] * (length // longest)
        if length % longest:
            yield length % longest


def _extent(flags: Bool[Tensor, " n"]) -> slice:
    """Return the smallest slice that holds all true values, empty where there is none."""
    places = flags.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def _widen(
    rows: Float[Tensor, "3 4 x"], across: tuple[Int[Tensor, " u"], Int[Tensor, " u"], Float[Tensor, " u"]]
) -> Float[Tensor, "3 4 u"]:
    """Interpolate along the last axis between the cells that ``_between`` found."""
    left, right, share = across
    return torch.lerp(rows[..., left], rows[..., right], share)


def _between(
    sources: int, size: int, part: slice, like: Tensor
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return for each place in ``part`` of ``size`` the two of ``sources`` cells it lies between, and how far along.

    The places are those of bilinear interpolation with pixel centres aligned (``align_corners=False``).
    """
    place = (torch.arange(part.start, part.stop, device=like.device) + 0.5) * (sources / size) - 0.5
    place = place.clamp(0, sources - 1)
    before = place.long()
    return before, (before + 1).clamp(max=sources - 1), (place - before).to(like)
