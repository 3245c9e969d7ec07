"""A run's means as a table for the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffharmon.columns import RUN, Column, ColumnGroup, format_number

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Align cells for a terminal: the first row is the header, the first column is left-aligned."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def mean_table(rows: Sequence[Mapping[str, Any]], groups: Sequence[ColumnGroup]) -> str:
    """Table of a run's means: every measure of quality, of the composites, of the results, and the gain.

    Args:
        rows: The rows of all finished images; at least one.
        groups: The columns of the run's metrics.
    """
    count = "1 image" if len(rows) == 1 else f"mean over {len(rows)} images"
    lines = [(count, "composite", "result", "gain")]
    for group in (*groups, RUN):
        for column in group.columns:
            if column.in_tables and column.direction != "none":
                result = mean_of(rows, group.key(column))
                if math.isnan(result):
                    continue
                before = mean_of(rows, group.baseline_key(column))
                gain = mean_gain(rows, group.key(column), group.baseline_key(column), column)
                numbers = (format_number(before, column.decimals), format_number(result, column.decimals))
                title = f"{group.prefix.replace('_', ' ')}{column.title} {ARROWS[column.direction]}"
                lines.append((title, *numbers, format_number(gain, column.decimals, sign=True)))
    return text_table(lines)


def mean_of(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """Mean of a number over the rows that have it; NaN where none has."""
    found = [row[key] for row in rows if is_number(row.get(key))]
    if not found:
        return math.nan
    return math.fsum(found) / len(found) if all(map(math.isfinite, found)) else sum(found) / len(found)


def mean_gain(rows: Sequence[Mapping[str, Any]], key: str, baseline_key: str, column: Column) -> float:
    """Mean gain over the untouched composite, positive where the result is better; infinite values are left out."""
    sign = 1.0 if column.higher_is_better else -1.0
    pairs = [(row.get(key), row.get(baseline_key)) for row in rows]
    gains = [sign * (after - before) for after, before in pairs if is_finite(after) and is_finite(before)]
    return math.fsum(gains) / len(gains) if gains else math.nan


def is_number(value: Any) -> bool:
    """Tell whether a row's value is a number other than NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def is_finite(value: Any) -> bool:
    """Tell whether a row's value is a finite number."""
    return is_number(value) and math.isfinite(value)
