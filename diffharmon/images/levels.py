"""Between colours in [0, 1] and the levels of files, by bands of rows: no copy of a whole large photo in between."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from diffharmon.types.levels import Levels, bands, hold

_PEAKS = {8: 255, 16: 65535}


def to_uint8(image: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Turn [0, 1] into rounded 8-bit values; what is outside is clipped."""
    levels = torch.empty(image.shape, dtype=torch.uint8, device=image.device)
    for rows in bands(*image.shape[1:]):
        levels[:, rows] = _scaled(image[:, rows], 8)
    return levels


def from_uint8(image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """Turn 8-bit values into [0, 1] in float32."""
    return image.float().div_(255)


def samples(image: Float[Tensor, "c h w"], depth: int, linear: bool = False) -> np.ndarray:
    """Turn [0, 1] into the samples ``h w c`` of a depth: rounded integers of 8 or 16 bits, or 32-bit floats.

    Linear light is not clipped, and its 16 bits are floating point.
    """
    kind = {8: np.uint8, 16: np.float16 if linear else np.uint16}.get(depth, np.float32)
    channels, height, width = image.shape
    made = np.empty((height, width, channels), kind)
    for rows in bands(height, width):
        part = image[:, rows].detach()
        if linear or depth == 32:
            values = part.float() if linear else part.float().clamp(0, 1)
        else:
            values = _scaled(part, depth)
        made[rows] = values.permute(1, 2, 0).cpu().numpy()
    return made


def from_samples(values: np.ndarray, peak: float) -> Float[Tensor, "c h w"]:
    """Turn the samples ``h w c`` of a file into [0, 1] with ``peak`` at 1; integers of a large photo stay held.

    Args:
        values: The samples; whoever gives them writes to them no more.
        peak: The value of white.
    """
    if values.dtype in (np.uint8, np.uint16):
        usable = values.flags.writeable and min(values.strides) >= 0  # torch takes no others
        return hold(torch.from_numpy(values if usable else values.copy()).permute(2, 0, 1), float(peak))
    height, width, channels = values.shape
    image = torch.empty(channels, height, width)
    for rows in bands(height, width):
        part = values[rows].astype(np.float32) / np.float32(peak)
        image[:, rows] = torch.from_numpy(part).permute(2, 0, 1)
    return image


def _scaled(part: Float[Tensor, "c y w"], depth: int) -> Tensor:
    """Round some rows to levels; those that are held at that depth are its levels."""
    peak = _PEAKS[depth]
    if isinstance(part, Levels) and not part.patches and part.peak == peak:
        return part.levels
    return part.detach().float().clamp(0, 1).mul_(peak).round_()
