"""Between colours in [0, 1] and the levels of files, by bands of rows: no copy of a whole large photo in between."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_BAND = 1 << 18  # pixels worked on at a time, so that what lies between fits a core's cache


def bands(height: int, width: int) -> Iterator[slice]:
    """Cut an image of this size into bands of rows from top to bottom."""
    rows = max(1, _BAND // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def to_uint8(image: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Turn [0, 1] into rounded 8-bit values; what is outside is clipped."""
    levels = torch.empty(image.shape, dtype=torch.uint8, device=image.device)
    for rows in bands(*image.shape[1:]):
        levels[:, rows] = _scaled(image[:, rows], 255)
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
        if linear:
            values = part.float()
        else:
            values = part.float().clamp(0, 1) if depth == 32 else _scaled(part, 255 if depth == 8 else 65535)
        made[rows] = values.permute(1, 2, 0).cpu().numpy()
    return made


def from_samples(values: np.ndarray, peak: float) -> Float[Tensor, "c h w"]:
    """Turn the samples ``h w c`` of a file into float32 with ``peak`` at 1."""
    height, width, channels = values.shape
    image = torch.empty(channels, height, width)
    for rows in bands(height, width):
        part = values[rows].astype(np.float32) / np.float32(peak)
        image[:, rows] = torch.from_numpy(part).permute(2, 0, 1)
    return image


def _scaled(part: Float[Tensor, "c y w"], peak: int) -> Float[Tensor, "c y w"]:
    return part.detach().float().clamp(0, 1).mul_(peak).round_()
