"""Rows to tables: means per subset and per foreground-area band, and gains over a baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from diffharmon.columns import Column
from diffharmon.report.runs import Row, Run
from diffharmon.report.statistics import Comparison, Estimate, compare, estimate, holm
from diffharmon.results.summary import is_finite, is_number

ALL = "All"
# Foreground's share of the frame, as DoveNet's table and those after it split the test set.
BANDS = (("0-5 %", 0.0, 0.05), ("5-15 %", 0.05, 0.15), ("15-100 %", 0.15, math.inf))


@dataclass(frozen=True)
class Group:
    """A part of the images: all, those of a subset, or those whose foreground's share is in [low, high)."""

    kind: Literal["subset", "area"]
    name: str
    low: float = 0.0
    high: float = math.inf

    def holds(self, row: Row) -> bool:
        """Return whether an image belongs to it."""
        if self.kind == "area":
            return is_number(row.get("area")) and self.low <= row["area"] < self.high
        return self.name in (ALL, row.get("source", ""))


@dataclass(frozen=True)
class Line:
    """One run in one table: an estimate and a comparison with the baseline per metric, by the metric's key."""

    run: str
    count: int
    estimates: Mapping[str, Estimate]
    comparisons: Mapping[str, Comparison]


@dataclass(frozen=True)
class Table:
    """All runs over one group of images.

    Attributes:
        kind: ``subset`` or ``area``.
        group: The subset's name, ``All``, or the band of the foreground's share of the frame.
        columns: The columns.
        lines: The rows.
        baseline: Label of the run that gains are measured against; empty where there is none.
    """

    kind: str
    group: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    baseline: str = ""

    def is_best(self, line: Line, column: Column) -> bool:
        """Return whether a line has the best mean of a column; a run that lacks images which others have never has."""
        most = max(other.count for other in self.lines)
        means = [o.estimates[column.key].mean for o in self.lines if o.count == most and column.key in o.estimates]
        if len(self.lines) < 2 or line.count < most or column.key not in line.estimates:
            return False
        return line.estimates[column.key].mean == (max if column.higher_is_better else min)(means)


def values(rows: Sequence[Row], key: str) -> list[float]:
    """One metric of rows that all have it; empty when one has not."""
    found = [float(row[key]) for row in rows if is_number(row.get(key))]
    return found if len(found) == len(rows) else []


def used_columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    """The columns of tables that any run has values in; the score only where an evaluator gave one."""
    columns = {column.key: column for run in runs for column in run.columns if column.in_tables}
    rows = [row for run in runs for row in run.rows.values()]
    # The score is the runner's own and ends every table, also where the first run has fewer columns than the second.
    ordered = sorted(columns.values(), key=lambda column: column.key == "score")
    return tuple(column for column in ordered if any(row.get(column.key) not in (None, 0.0) for row in rows))


def groups(runs: Sequence[Run]) -> list[Group]:
    """All images, each subset where there are several, and the area bands that are not empty."""
    rows = [row for run in runs for row in run.rows.values()]
    sources = sorted({str(row.get("source", "")) for row in rows})
    subsets = [Group("subset", name) for name in (ALL, *(sources if len(sources) > 1 else ()))]
    bands = [Group("area", *band) for band in BANDS]
    return subsets + [band for band in bands if any(band.holds(row) for row in rows)]


def tabulate(runs: Sequence[Run], baseline: Run | None, seed: int = 0) -> list[Table]:
    """Make the table of every group; a run without images in a group has no line there."""
    columns = used_columns(runs)
    tables = []
    for group in groups(runs):
        lines = [line for run in runs if (line := make_line(run, baseline, group, columns, seed)) is not None]
        label = "" if baseline is None else baseline.label
        tables.append(Table(group.kind, group.name, columns, tuple(adjust(lines, columns)), label))
    return tables


def make_line(run: Run, baseline: Run | None, group: Group, columns: Sequence[Column], seed: int) -> Line | None:
    """Estimate all columns of one run in one group and compare them with the baseline on common images."""
    rows = {name: row for name, row in run.rows.items() if group.holds(row)}
    if not rows:
        return None
    estimates = {c.key: estimate(found, seed) for c in columns if (found := values([*rows.values()], c.key))}
    comparisons = {}
    if baseline is not None and run.label != baseline.label:
        common = sorted(rows.keys() & baseline.rows.keys())
        for column in columns:
            ours = values([rows[name] for name in common], column.key)
            theirs = values([baseline.rows[name] for name in common], column.key)
            comparison = compare(ours, theirs, column.higher_is_better, seed) if ours and theirs else None
            if comparison is not None:
                comparisons[column.key] = comparison
    return Line(run.label, len(rows), estimates, comparisons)


def adjust(lines: Sequence[Line], columns: Sequence[Column]) -> list[Line]:
    """Correct the p-values of each metric for the number of runs that are compared in the table."""
    changed = [dict(line.comparisons) for line in lines]
    for column in columns:
        having = [comparisons for comparisons in changed if column.key in comparisons]
        for comparisons, p in zip(having, holm([own[column.key].p for own in having]), strict=True):
            comparisons[column.key] = replace(comparisons[column.key], adjusted=p)
    return [replace(line, comparisons=own) for line, own in zip(lines, changed, strict=True)]


def gains(run: Run, baseline: Run, column: Column) -> dict[str, float]:
    """The gain of every image that both runs have, by name; positive is better, infinite values are left out."""
    found = {}
    for name in sorted(run.rows.keys() & baseline.rows.keys()):
        ours, theirs = run.rows[name].get(column.key), baseline.rows[name].get(column.key)
        if is_finite(ours) and is_finite(theirs):
            found[name] = float(ours - theirs if column.higher_is_better else theirs - ours)  # type: ignore[operator]
    return found


def main_column(runs: Sequence[Run]) -> Column | None:
    """The column that plots and the gallery go by: a metric's main one, else the score, else any."""
    used = used_columns(runs)
    return next((column for column in used if column.is_main), None) or (used[-1] if used else None)
