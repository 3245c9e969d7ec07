"""What the loggers share: the order of a row's values, and which of them are numbers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffharmon.columns import ordered_keys
from diffharmon.results import read_columns

SETTINGS = ("seed",)


def columns(folder: Path, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return all row keys of the run in ``folder``, always in the same order, so that tables of runs align."""
    return ordered_keys(read_columns(folder), rows)


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
