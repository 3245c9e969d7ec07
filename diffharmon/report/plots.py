"""Plots as lists of marks, which the template draws as SVG; the title of a mark holds its numbers."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from diffharmon.columns import Column, format_number
from diffharmon.report.content import Section
from diffharmon.report.grids import with_interval
from diffharmon.report.runs import UNCHANGED, Run
from diffharmon.report.statistics import Estimate, estimate
from diffharmon.report.tables import gains, main_column, values
from diffharmon.results.summary import mean_of

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 860, 64, 24, 16, 46
LABELS = 300  # width kept for names of runs
PLOT_HEIGHT = 300
BAND_HEIGHT = 44
MAX_LABEL = 38  # characters of a line that fit LABELS
DIAMETER = 19  # of a numbered point
LINE = 15  # pixels from one line of a label to the next
MAX_DOTS = 200
Pixels = int | float


@dataclass(frozen=True)
class Mark:
    """An SVG element: tag, attributes, the text inside, a title that shows on hovering, and elements inside."""

    tag: str
    attributes: Mapping[str, str | float]
    text: str = ""
    title: str = ""
    inner: tuple["Mark", ...] = ()


@dataclass(frozen=True)
class Plot:
    """A drawing with its heading and what a screen reader calls it."""

    title: str
    label: str
    height: Pixels
    marks: Sequence[Mark] = field(default_factory=list)
    width: int = WIDTH


def line(kind: str, x1: Pixels, x2: Pixels, y1: Pixels, y2: Pixels) -> Mark:
    """Draw a line of a CSS class."""
    return Mark("line", {"class": kind, **place(x1=x1, x2=x2, y1=y1, y2=y2)})


def text(kind: str, x: Pixels, y: Pixels, words: str, title: str = "") -> Mark:
    """Write a text of a CSS class."""
    return Mark("text", {"class": kind, **place(x=x, y=y)}, words, title)


def place(**values: Pixels) -> dict[str, str]:
    """Round positions to a tenth of a pixel."""
    return {name: f"{value:.1f}" for name, value in values.items()}


def plots(section: Section) -> list[Plot]:
    """Every plot that the section's rows allow."""
    metric = main_column(section.runs)
    if metric is None:
        return []
    return [plot for plot in (quality_against_compute(section, metric), distribution_of_gains(section, metric)) if plot]


def quality_against_compute(section: Section, metric: Column) -> Plot | None:
    """Mean quality with its interval against network evaluations an image; None when no run evaluates a network."""
    points = [
        (run, mean_of([*run.rows.values()], "network_samples"), estimate(found))
        for run in section.runs
        if not is_unchanged(run) and (found := values([*run.rows.values()], metric.key))
    ]
    points = [point for point in points if math.isfinite(point[1]) and math.isfinite(point[2].mean)]
    if not any(x > 0 for _, x, _ in points):
        return None
    before = next((run for run in section.runs if is_unchanged(run)), None)
    unchanged = values([*before.rows.values()], metric.key) if before is not None else []
    level = estimate(unchanged).mean if unchanged else math.nan
    ends = [end for _, _, y in points for end in (y.mean, y.low, y.high)] + [level]
    across = linear([0.0, max(x for _, x, _ in points)], LEFT, WIDTH - RIGHT - LABELS)
    up = linear([end for end in ends if math.isfinite(end)], PLOT_HEIGHT - BOTTOM, TOP)
    marks = axis_across(across, PLOT_HEIGHT - BOTTOM, "network evaluations an image (samples)")
    marks += axis_up(up, f"{metric.title}", WIDTH - RIGHT - LABELS)
    if math.isfinite(level):
        end, y = WIDTH - RIGHT - LABELS, up.at(level)
        marks += [line("level", LEFT, end, y, y), text("end small", end - 4, y - 5, UNCHANGED)]
    step = row_height([run.label for run, _, _ in points], 24)
    centres = apart([(across.at(x), up.at(quality.mean)) for _, x, quality in points], WIDTH - RIGHT - LABELS)
    for number, ((run, _, quality), x) in enumerate(zip(points, centres, strict=True)):
        marks += point(number, run, x, quality, up, metric, TOP + step * (number + 0.5))
    height = max(PLOT_HEIGHT, TOP + step * len(points) + 12)
    return Plot(f"{metric.title} against compute", f"{metric.title} against network evaluations", height, marks)


def apart(centres: Sequence[tuple[float, float]], right: Pixels) -> list[float]:
    """Return the horizontal places of points, those that would cover another one moved beside it, inward."""
    placed: list[tuple[float, float]] = []
    for x, y in centres:
        step = DIAMETER if x < right / 2 else -DIAMETER
        while any(abs(x - other) < DIAMETER and abs(y - level) < DIAMETER for other, level in placed):
            x += step
        placed.append((x, y))
    return [x for x, _ in placed]


def is_unchanged(run: Run) -> bool:
    """Return whether a run stands for the input composites."""
    return not run.folder.parts and not run.config


def point(number: int, run: Run, x: float, found: Estimate, up: "Axis", metric: Column, row: Pixels) -> list[Mark]:
    """A numbered point with its interval, and its line in the legend at the height ``row``."""
    y = up.at(found.mean)
    title = f"{run.label}: {metric.title} {with_interval(found, metric.decimals)}"
    marks = []
    if math.isfinite(found.low):
        marks.append(line(f"interval {colour(number)}", x, x, up.at(found.low), up.at(found.high)))
    legend = WIDTH - LABELS + 8
    for centre, level in ((x, y), (legend, row)):
        circle = Mark("circle", {"class": colour(number), **place(cx=centre, cy=level, r=9)})
        marks.append(Mark("g", {}, title=title, inner=(circle, text("inside", centre, level + 4, str(number + 1)))))
    return [*marks, *label("", legend + 16, row, run.label, title)]


def colour(number: int) -> str:
    """CSS class of a run's colour."""
    return f"c{number % 8}"


def distribution_of_gains(section: Section, metric: Column) -> Plot | None:
    """Per run a box (quartiles, median, 5 to 95 %) over the images' gains; dots where there are few."""
    baseline = section.baseline
    if baseline is None:
        return None
    found = [(run, [*gains(run, baseline, metric).values()]) for run in section.runs if run.label != baseline.label]
    found = [(run, own) for run, own in found if own]
    if not found:
        return None
    across = linear([0.0, *(value for _, own in found for value in own)], LABELS, WIDTH - RIGHT)
    band = row_height([run.label for run, _ in found], BAND_HEIGHT)
    floor = TOP + band * len(found)
    unit = f" in {metric.unit}" if metric.unit else ""
    marks = axis_across(across, floor, f"gain in {metric.title}{unit}; right of the line is better")
    marks.append(line("level", across.at(0), across.at(0), TOP, floor))
    for number, (run, own) in enumerate(found):
        marks += box(number, run.label, own, across, metric, TOP + band * (number + 0.5))
    title = f"Gain in {metric.title} over {baseline.label}, image by image"
    return Plot(title, f"distribution of gains in {metric.title}", floor + BOTTOM, marks)


def box(number: int, name: str, own: Sequence[float], across: "Axis", metric: Column, middle: Pixels) -> list[Mark]:
    """One run's box, whiskers and dots, around the height ``middle``."""
    low, first, median, third, high = (float(q) for q in np.quantile(own, (0.05, 0.25, 0.5, 0.75, 0.95)))
    texts = ", ".join(format_number(value, metric.decimals, sign=True) for value in (low, first, median, third, high))
    title = f"{name}: 5, 25, 50, 75, 95 % at {texts} ({len(own)} images)"
    left, right, x = across.at(first), across.at(third), across.at(median)
    size = place(x=left, y=middle - 11, width=max(right - left, 1), height=22)
    marks = [
        *label("end", LABELS - 12, middle, name, title),
        line(f"interval {colour(number)}", across.at(low), across.at(high), middle, middle),
        Mark("rect", {"class": f"box {colour(number)}", **size}, title=title),
    ]
    if len(own) <= MAX_DOTS:
        for index, value in enumerate(own):
            # A fixed pattern instead of chance, so that a report is the same each time.
            level = middle + 9 * (((index * 0.618) % 1) * 2 - 1)
            marks.append(
                Mark("circle", {"class": f"dot {colour(number)}", **place(cx=across.at(value), cy=level, r=2.2)})
            )
    return [*marks, line("median", x, x, middle - 11, middle + 11)]


class Axis:
    """A linear scale from values to pixels with round ticks.

    Args:
        low: Value at ``start``.
        high: Value at ``stop``.
        step: Distance of ticks.
        start: Pixel of ``low``.
        stop: Pixel of ``high``.
    """

    def __init__(self, low: float, high: float, step: float, start: Pixels, stop: Pixels) -> None:
        self.low, self.high, self.step, self.start, self.stop = low, high, step, start, stop

    def at(self, value: int | float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return values and texts of the ticks."""
        decimals = next(count for count in range(12) if math.isclose(round(self.step, count), self.step))
        count = round((self.high - self.low) / self.step)
        found = (round(self.low + index * self.step, 10) + 0.0 for index in range(count + 1))
        return [(value, f"{value:.{decimals}f}") for value in found]


def linear(found: Sequence[float], start: Pixels, stop: Pixels) -> Axis:
    """Make the axis that covers the values with about five round steps."""
    low, high = float(min(found)), float(max(found))
    spread = (high - low) or abs(high) or 1.0
    rough = spread / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    bottom, top = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(float(bottom), float(top if top > bottom else bottom + step), step, float(start), float(stop))


def axis_across(axis: Axis, floor: Pixels, title: str) -> list[Mark]:
    """Ticks and title below a plot."""
    marks = [line("axis", axis.start, axis.stop, floor, floor)]
    for value, words in axis.ticks():
        x = axis.at(value)
        marks += [line("grid", x, x, TOP, floor), text("middle small", x, floor + 16, words)]
    return [*marks, text("middle", (axis.start + axis.stop) / 2, floor + 36, title)]


def axis_up(axis: Axis, title: str, right: Pixels) -> list[Mark]:
    """Ticks and title left of a plot."""
    marks = [line("axis", LEFT, LEFT, axis.start, axis.stop)]
    for value, words in axis.ticks():
        y = axis.at(value)
        marks += [line("grid", LEFT, right, y, y), text("end small", LEFT - 6, y + 4, words)]
    turned = f"translate(16 {(axis.start + axis.stop) / 2:.0f}) rotate(-90)"
    return [*marks, Mark("text", {"class": "middle", "transform": turned}, title)]


def label(kind: str, x: Pixels, y: Pixels, name: str, title: str) -> list[Mark]:
    """Write a run's name in as many lines as it needs, around the height ``y``."""
    found = wrapped(name)
    first = y + 4 - LINE * (len(found) - 1) / 2
    return [text(kind, x, first + LINE * place, words, title) for place, words in enumerate(found)]


def wrapped(name: str) -> list[str]:
    """Break a name into lines that fit, at spaces where it has some."""
    lines = [""]
    for piece in re.findall(r"[^ ,=+]*[ ,=+]+|[^ ,=+]+", name):
        if lines[-1] and len((lines[-1] + piece).rstrip()) > MAX_LABEL:
            lines.append("")
        *full, rest = textwrap.wrap(lines[-1] + piece, MAX_LABEL, drop_whitespace=False) or [""]
        lines[-1:] = [*full, rest]
    return [line.rstrip() for line in lines]


def row_height(names: Sequence[str], minimum: Pixels) -> Pixels:
    """Return the height of a row that the longest name's lines fit, at least ``minimum``."""
    return max(minimum, *(LINE * len(wrapped(name)) + 9 for name in names))
