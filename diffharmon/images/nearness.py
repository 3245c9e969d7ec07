"""Keeping a result near the photo it was made from."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.types.levels import Patch, bands, floats, patched


def kept_within(
    photo: Float[Tensor, "3 h w"], result: Float[Tensor, "3 h w"], psnr: float
) -> tuple[Float[Tensor, "3 h w"], float]:
    """Move a result towards its photo until it is no farther away than this; what both share stays bit for bit.

    Args:
        photo: The photo, in [0, 1].
        result: What was made of it, in [0, 1].
        psnr: The least peak signal-to-noise ratio of the result against the photo over the whole frame, dB.

    Returns:
        The result, or a mixture of both, and the share of the change that is left in it.
    """
    squared = sum(float(_change(photo, result, rows).double().square().sum()) for rows in bands(*photo.shape[-2:]))
    allowed = photo.numel() * 10 ** (-psnr / 10)
    if squared <= allowed:
        return result, 1.0
    share = math.sqrt(allowed / squared)
    patches = []
    for rows in bands(*photo.shape[-2:]):
        change = _change(photo, result, rows)
        columns = (change != 0).any(0).any(0).nonzero()
        if len(columns):
            touched = slice(int(columns[0]), int(columns[-1]) + 1)
            behind = floats(photo[:, rows, touched]).to(change)
            patches.append(Patch(rows.start, touched.start, torch.add(behind, change[..., touched], alpha=share)))
    return patched(photo.to(result.device), patches), share


def _change(photo: Float[Tensor, "3 h w"], result: Float[Tensor, "3 h w"], rows: slice) -> Float[Tensor, "3 v w"]:
    made = floats(result[:, rows])
    return made - floats(photo[:, rows]).to(made)
