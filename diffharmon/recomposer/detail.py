"""Carrying the change of light, not the pixels, from the backbone's canvas to the photo at full size."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.change import change_image
from diffharmon.condition.light import named_change
from diffharmon.types import Composite, Edited

_CLIPPED = 4 / 255  # so close to black or white, a value may be cut off and says little about the change
_CLIPPED_WEIGHT = 0.05
_GLOBAL_RIDGE = 3e-4
_ROWS = 128  # rows of the photo worked on at a time, which bounds the memory


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
        strength: float = 1.0,
        calibrate: bool = False,
        read_share: float = 0.5,
        locality: float = 0.5,
        radius: float = 0.1,
        epsilon: float = 0.01,
    ) -> None:
        if not 0 <= strength <= 2:
            raise ValueError(f"strength must be in [0, 2], got {strength}")
        if not 0 <= read_share <= 1:
            raise ValueError(f"read_share must be in [0, 1], got {read_share}")
        if not 0 <= locality <= 1:
            raise ValueError(f"locality must be in [0, 1], got {locality}")
        if not 0 < radius <= 1:
            raise ValueError(f"radius must be in (0, 1], got {radius}")
        if epsilon <= 0:
            raise ValueError(f"epsilon must be positive, got {epsilon}")
        self.strength, self.calibrate, self.read_share = strength, calibrate, read_share
        self.locality, self.radius, self.epsilon = locality, radius, epsilon

    def recompose(
        self, composite: Composite, current: Float[Tensor, "3 h w"], edited: Edited
    ) -> Float[Tensor, "3 h w"]:
        """Return ``current`` with its foreground changed as the edit changed it, the background as the composite's."""
        mask = composite.mask.to(current)
        source, target = _array(edited.source), _array(edited.edited)
        small = F.interpolate(mask[None].float(), source.shape[:2], mode="area")[0, 0]
        change = self._fit(source, target, _trust(source, target) * small.cpu().double().numpy())
        strength = self.strength * (_distance(change, edited, small) if self.calibrate else 1)
        read = edited.description.change if edited.description is not None else None
        result = composite.image.to(current, copy=True)
        for rows in _bands(mask[0]):
            here, cover = current[:, rows], mask[:, rows]
            added = strength * _evaluate(change, here, current.shape[-2], rows)
            if read is not None and self.read_share > 0:
                wanted = self.strength * (change_image(read, here, cover) - here)
                added = torch.lerp(added, wanted, self.read_share)
            changed = (here + cover * added).clamp(0, 1)
            result[:, rows] = torch.where(cover > 0, changed, result[:, rows])
        return result

    def _fit(
        self, source: Float[np.ndarray, "y x 3"], target: Float[np.ndarray, "y x 3"], weight: Float[np.ndarray, "y x"]
    ) -> _Change:
        difference = target - source
        features = np.concatenate((source, source**2), axis=-1)
        curve, shift = _regress(features, difference, weight, _whole, _GLOBAL_RIDGE)
        curve, shift = curve[0, 0], shift[0, 0]
        if self.locality == 0:
            return _Change(curve, shift)
        side = 2 * max(1, round(self.radius * math.sqrt(weight.size))) + 1

        def window(values: np.ndarray) -> np.ndarray:
            flat = values.reshape(*values.shape[:2], -1)
            blurred = [
                cv2.blur(plane, (side, side), borderType=cv2.BORDER_CONSTANT) for plane in np.moveaxis(flat, -1, 0)
            ]
            return np.stack(blurred, axis=-1).reshape(values.shape)

        remainder = difference - features @ curve.T - shift
        gain, offset = _regress(source, remainder, weight, window, self.epsilon)
        # The guided filter's second mean: each pixel averages the maps of all windows it lies in, by their foreground.
        coverage = window(weight)[..., None]
        total = np.maximum(window(coverage), 1e-12)
        gain, offset = window(gain * coverage[..., None]) / total[..., None], window(offset * coverage) / total
        return _Change(curve, shift, self.locality * gain, self.locality * offset)


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
    added = _evaluate(change, image, image.shape[-2], slice(0, image.shape[-2]))
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


def _bands(mask: Float[Tensor, "h w"]) -> list[slice]:
    """Bands of rows that cover the mask."""
    rows = (mask > 0).any(1).nonzero()
    if not len(rows):
        return []
    first, last = int(rows[0]), int(rows[-1]) + 1
    return [slice(start, min(start + _ROWS, last)) for start in range(first, last, _ROWS)]


def _evaluate(change: _Change, image: Float[Tensor, "3 v w"], height: int, rows: slice) -> Float[Tensor, "3 v w"]:
    """Evaluate the change on some rows of a photo of ``height`` rows."""
    curve, shift = (torch.from_numpy(values).float().to(image) for values in (change.curve, change.shift))
    added = torch.tensordot(curve, torch.cat((image, image**2)), 1) + shift[:, None, None]
    if change.gain is None or change.offset is None:
        return added
    maps = (
        torch.from_numpy(np.concatenate((change.gain, change.offset[..., None]), axis=-1)).float().permute(2, 3, 0, 1)
    )
    for channel, planes in enumerate(_enlarge_rows(maps.to(image), height, rows, image.shape[-1])):
        added[channel] += (planes[:3] * image).sum(0) + planes[3]
    return added


def _enlarge_rows(maps: Float[Tensor, "b c y x"], height: int, rows: slice, width: int) -> Float[Tensor, "b c v w"]:
    """Rows of ``maps`` as bilinear interpolation to ``height`` x ``width`` (pixel centres aligned) would give them."""
    sources = maps.shape[2]
    place = (torch.arange(rows.start, rows.stop, device=maps.device) + 0.5) * (sources / height) - 0.5
    place = place.clamp(0, sources - 1)
    lower = place.long()
    upper = (lower + 1).clamp(max=sources - 1)
    share = (place - lower).to(maps)[:, None]
    first, last = int(lower[0]), int(upper[-1])
    lower, upper = lower - first, upper - first
    wide = F.interpolate(maps[:, :, first : last + 1], (last + 1 - first, width), mode="bilinear", align_corners=False)
    return wide[:, :, lower] * (1 - share) + wide[:, :, upper] * share
