"""What a run logs: a line an image, and its means as a table."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffharmon.columns import RUN, Column, ColumnGroup, format_number, main_column
from diffharmon.errors import InputError

log = logging.getLogger(__name__)

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
    pairs: list[tuple[Any, Any]] = [(row.get(key), row.get(baseline_key)) for row in rows]
    gains = [sign * (after - before) for after, before in pairs if is_finite(after) and is_finite(before)]
    return math.fsum(gains) / len(gains) if gains else math.nan


def is_number(value: Any) -> bool:
    """Return whether a row's value is a number other than NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def is_finite(value: Any) -> bool:
    """Return whether a row's value is a finite number."""
    return is_number(value) and math.isfinite(value)


def log_summary(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[ColumnGroup], folder: Path, listed: bool = True
) -> None:
    """Log the first images, the means with the gain over the composites, and where everything lies.

    Args:
        rows: A row of each image.
        groups: The columns of the run's metrics.
        folder: The run's folder.
        listed: Log a line for each of the first images.

    Raises:
        InputError: Some images failed, with the first reason.
    """
    good, bad = ([row for row in rows if (row["status"] == "ok") == wanted] for wanted in (True, False))
    for row in good[:20] if listed else ():
        log.info(describe_row(row, groups))
    if good:
        log.info("%s", mean_table(good, groups))
    log.info("results: %s", folder)
    if bad:
        first = f"the first, {bad[0]['name']}: {bad[0]['error']}" if len(rows) > 1 else bad[0]["error"]
        raise InputError(f"{len(bad)} of {len(rows)} images failed; {first}" if len(rows) > 1 else first)


def describe_row(row: Mapping[str, Any], groups: Sequence[ColumnGroup]) -> str:
    """Return one line about one image: its main number before and after, its score and its cost."""
    from diffharmon.method.policy import LEFT_ALONE, UNCONVINCING

    parts = [str(row["name"])]
    main = main_column(groups)
    if main is not None and main[0].key(main[1]) in row:
        group, column = main
        before, after = (row[key] for key in (group.baseline_key(column), group.key(column)))
        parts.append(f"{column.title} {before:.{column.decimals}f} -> {after:.{column.decimals}f} {column.unit}")
    parts.append(f"score {row['score']:.3f}")
    if str(row.get("reason", "")).startswith((LEFT_ALONE, UNCONVINCING)):
        parts.append("left alone as harmonious (evaluator=none always changes)")
    parts.append(f"{row['seconds']:.1f} s, {row['network_calls']:.0f} network calls")
    return ", ".join(parts)


def gain_of(row: Mapping[str, Any], groups: Sequence[ColumnGroup]) -> float | None:
    """Return what an image gained over its untouched composite by the main number; None where it was not measured."""
    main = main_column(groups)
    keys = () if main is None else (main[0].key(main[1]), main[0].baseline_key(main[1]))
    return row[keys[0]] - row[keys[1]] if keys and all(is_number(row.get(key)) for key in keys) else None


def objective(means: Mapping[str, float], groups: Sequence[ColumnGroup]) -> float | None:
    """Return what a sweeper maximizes: the first metric's main number, else the evaluator's score."""
    main = main_column(groups)
    fallback = means.get("score")
    return fallback if main is None else means.get(main[0].key(main[1]), fallback)
