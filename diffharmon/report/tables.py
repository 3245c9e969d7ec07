"""Rows to tables: means per subset and per foreground-area band, and gains over a baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from diffharmon.report.runs import Row, Run
from diffharmon.report.statistics import Comparison, Estimate, compare, estimate, holm


@dataclass(frozen=True)
class Metric:
    """A column: the row's key, its title, its direction and the decimals it is shown with."""

    key: str
    title: str
    higher_is_better: bool
    decimals: int


METRICS = (
    Metric("psnr", "PSNR", True, 2),
    Metric("mse", "MSE", False, 2),
    Metric("fmse", "fMSE", False, 2),
    Metric("fpsnr", "fPSNR", True, 2),
    Metric("ssim", "SSIM", True, 4),
    Metric("fssim", "fSSIM", True, 4),
    Metric("fciede2000", "fCIEDE2000", False, 2),
    Metric("clip_score", "CLIP score", True, 2),
    Metric("clip_direction", "CLIP direction", True, 3),
    Metric("score", "score", True, 3),
)
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
        """Tell whether an image belongs to it."""
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
        metrics: The columns.
        lines: The rows.
        baseline: Label of the run that gains are measured against; empty where there is none.
    """

    kind: str
    group: str
    metrics: tuple[Metric, ...]
    lines: tuple[Line, ...]
    baseline: str = ""

    def is_best(self, line: Line, metric: Metric) -> bool:
        """Tell whether a line has the best mean of a column; a run that lacks images which others have never has."""
        most = max(other.count for other in self.lines)
        means = [o.estimates[metric.key].mean for o in self.lines if o.count == most and metric.key in o.estimates]
        if len(self.lines) < 2 or line.count < most or metric.key not in line.estimates:
            return False
        return line.estimates[metric.key].mean == (max if metric.higher_is_better else min)(means)


def values(rows: Sequence[Row], key: str) -> list[float]:
    """One metric of rows that all have it; empty when one has not."""
    found = [float(row[key]) for row in rows if is_number(row.get(key))]
    return found if len(found) == len(rows) else []


def is_number(value: Any) -> bool:
    """Tell whether a row's value is a number other than NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def used_metrics(runs: Sequence[Run]) -> tuple[Metric, ...]:
    """The metrics that any run has; the score only where an evaluator gave one."""
    rows = [row for run in runs for row in run.rows.values()]
    return tuple(metric for metric in METRICS if any(row.get(metric.key) not in (None, 0.0) for row in rows))


def groups(runs: Sequence[Run]) -> list[Group]:
    """All images, each subset where there are several, and the area bands that are not empty."""
    rows = [row for run in runs for row in run.rows.values()]
    sources = sorted({str(row.get("source", "")) for row in rows})
    subsets = [Group("subset", name) for name in (ALL, *(sources if len(sources) > 1 else ()))]
    bands = [Group("area", *band) for band in BANDS]
    return subsets + [band for band in bands if any(band.holds(row) for row in rows)]


def tabulate(runs: Sequence[Run], baseline: Run | None, seed: int = 0) -> list[Table]:
    """Make the table of every group; a run without images in a group has no line there."""
    metrics = used_metrics(runs)
    tables = []
    for group in groups(runs):
        lines = [line for run in runs if (line := make_line(run, baseline, group, metrics, seed)) is not None]
        label = "" if baseline is None else baseline.label
        tables.append(Table(group.kind, group.name, metrics, tuple(adjust(lines, metrics)), label))
    return tables


def make_line(run: Run, baseline: Run | None, group: Group, metrics: Sequence[Metric], seed: int) -> Line | None:
    """Estimate all metrics of one run in one group and compare them with the baseline on common images."""
    rows = {name: row for name, row in run.rows.items() if group.holds(row)}
    if not rows:
        return None
    estimates = {m.key: estimate(found, seed) for m in metrics if (found := values([*rows.values()], m.key))}
    comparisons = {}
    if baseline is not None and run.label != baseline.label:
        common = sorted(rows.keys() & baseline.rows.keys())
        for metric in metrics:
            ours = values([rows[name] for name in common], metric.key)
            theirs = values([baseline.rows[name] for name in common], metric.key)
            comparison = compare(ours, theirs, metric.higher_is_better, seed) if ours and theirs else None
            if comparison is not None:
                comparisons[metric.key] = comparison
    return Line(run.label, len(rows), estimates, comparisons)


def adjust(lines: Sequence[Line], metrics: Sequence[Metric]) -> list[Line]:
    """Correct the p-values of each metric for the number of runs that are compared in the table."""
    changed = [dict(line.comparisons) for line in lines]
    for metric in metrics:
        having = [comparisons for comparisons in changed if metric.key in comparisons]
        for comparisons, p in zip(having, holm([own[metric.key].p for own in having]), strict=True):
            comparisons[metric.key] = replace(comparisons[metric.key], adjusted=p)
    return [replace(line, comparisons=own) for line, own in zip(lines, changed, strict=True)]


def gains(run: Run, baseline: Run, metric: Metric) -> dict[str, float]:
    """The gain of every image that both runs have, by name; positive is better, infinite values are left out."""
    found = {}
    for name in sorted(run.rows.keys() & baseline.rows.keys()):
        ours, theirs = run.rows[name].get(metric.key), baseline.rows[name].get(metric.key)
        if is_number(ours) and is_number(theirs) and math.isfinite(ours) and math.isfinite(theirs):  # type: ignore[arg-type]
            found[name] = float(ours - theirs if metric.higher_is_better else theirs - ours)  # type: ignore[operator]
    return found


def leading(runs: Sequence[Run]) -> Metric | None:
    """The metric that plots and the gallery go by: foreground PSNR, else the score."""
    used = used_metrics(runs)
    return next((metric for key in ("fpsnr", "psnr", "score") for metric in used if metric.key == key), None)
