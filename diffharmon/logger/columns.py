"""The order of a row's values in every table, so that tables of different runs can be laid side by side."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

IDENTITY = ("name", "source", "status", "config", "seed", "protocol", "area")
MEASURES = ("mse", "psnr", "fmse", "fpsnr", "ssim", "fssim", "background_mse", "ciede2000", "fciede2000", "clip_score")
EFFORT = ("clip_direction", "score", "reason", "iterations", "seconds", "unet_calls", "unet_samples")
KNOWN = (*IDENTITY, *MEASURES, *EFFORT, *(f"composite_{name}" for name in MEASURES), "error")
SETTINGS = ("seed",)


def columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all known columns in their fixed order, then any other that the rows have, by alphabet."""
    others = {key for row in rows for key in row} - set(KNOWN)
    return [*KNOWN, *sorted(others)]


def numbers(row: Mapping[str, Any], without: Sequence[str] = SETTINGS) -> dict[str, float]:
    """Return what was measured of a row: its finite numbers, without settings such as the seed."""
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and key not in without
        and math.isfinite(value)
    }
