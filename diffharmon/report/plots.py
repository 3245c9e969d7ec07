"""Plots as SVG that follow the page's colours; a text title on every mark tells its numbers."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from diffharmon.columns import Column
from diffharmon.report.content import Section
from diffharmon.report.grids import mean_of, number, with_interval
from diffharmon.report.runs import UNCHANGED, Run
from diffharmon.report.statistics import Estimate, estimate
from diffharmon.report.tables import gains, main_column, values

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 860, 64, 24, 16, 46
LABELS = 300  # width kept for names of runs
PLOT_HEIGHT = 300
BAND_HEIGHT = 44
LONGEST = 44
MOST_DOTS = 200
Pixels = int | float


def plots(section: Section) -> list[tuple[str, str]]:
    """Title and SVG of every plot that the section's rows allow."""
    metric = main_column(section.runs)
    if metric is None:
        return []
    found = []
    compute = quality_against_compute(section, metric)
    if compute:
        found.append((f"{metric.title} against compute", compute))
    distribution = distribution_of_gains(section, metric)
    if distribution and section.baseline is not None:
        found.append((f"Gain in {metric.title} over {section.baseline.label}, image by image", distribution))
    return found


def quality_against_compute(section: Section, metric: Column) -> str:
    """Mean quality with its interval against UNet evaluations an image; empty when no run evaluates a UNet."""
    points = [
        (run, mean_of(run, "unet_samples"), estimate(found))
        for run in section.runs
        if not is_unchanged(run) and (found := values([*run.rows.values()], metric.key))
    ]
    points = [point for point in points if math.isfinite(point[1]) and math.isfinite(point[2].mean)]
    if not any(x > 0 for _, x, _ in points):
        return ""
    before = next((run for run in section.runs if is_unchanged(run)), None)
    unchanged = values([*before.rows.values()], metric.key) if before is not None else []
    level = estimate(unchanged).mean if unchanged else math.nan
    ends = [end for _, _, y in points for end in (y.mean, y.low, y.high)] + [level]
    across = linear([0.0, max(x for _, x, _ in points)], LEFT, WIDTH - RIGHT - LABELS)
    up = linear([end for end in ends if math.isfinite(end)], PLOT_HEIGHT - BOTTOM, TOP)
    marks = axis_across(across, PLOT_HEIGHT - BOTTOM, "UNet evaluations an image (samples)")
    marks += axis_up(up, f"{metric.title}", WIDTH - RIGHT - LABELS)
    if math.isfinite(level):
        y = up.at(level)
        marks.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT - LABELS}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text class="end small" x="{WIDTH - RIGHT - LABELS - 4}" y="{y - 5:.1f}">{UNCHANGED}</text>')
    for place, (run, x, quality) in enumerate(points):
        marks += point(place, run, across.at(x), quality, up, metric)
    height = max(PLOT_HEIGHT, TOP + 24 * len(points) + 12)
    return svg(height, marks, f"{metric.title} against UNet evaluations")


def is_unchanged(run: Run) -> bool:
    """Tell whether a run stands for the input composites."""
    return not run.folder.parts and not run.config


def point(place: int, run: Run, x: float, found: Estimate, up: "Axis", metric: Column) -> list[str]:
    """A numbered point with its interval, and its line in the legend."""
    y, row = up.at(found.mean), TOP + 14 + 24 * place
    title = f"<title>{escape(run.label)}: {metric.title} {with_interval(found, metric.decimals)}</title>"
    marks = []
    if math.isfinite(found.low):
        ends = f'y1="{up.at(found.low):.1f}" y2="{up.at(found.high):.1f}"'
        marks.append(f'<line class="interval c{place % 8}" x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
    legend = WIDTH - LABELS + 8
    for centre, level in ((x, y), (legend, row)):
        marks.append(f'<g>{title}<circle class="c{place % 8}" cx="{centre:.1f}" cy="{level:.1f}" r="9"/>')
        marks.append(f'<text class="inside" x="{centre:.1f}" y="{level + 4:.1f}">{place + 1}</text></g>')
    marks.append(f'<text x="{legend + 16}" y="{row + 4}">{title}{shortened(run.label)}</text>')
    return marks


def distribution_of_gains(section: Section, metric: Column) -> str:
    """Per run a box (quartiles, median, 5 to 95 %) over the images' gains; dots where there are few."""
    baseline = section.baseline
    if baseline is None:
        return ""
    found = [(run, [*gains(run, baseline, metric).values()]) for run in section.runs if run.label != baseline.label]
    found = [(run, own) for run, own in found if own]
    if not found:
        return ""
    across = linear([0.0, *(value for _, own in found for value in own)], LABELS, WIDTH - RIGHT)
    floor = TOP + BAND_HEIGHT * len(found)
    unit = f" in {metric.unit}" if metric.unit else ""
    marks = axis_across(across, floor, f"gain in {metric.title}{unit}; right of the line is better")
    marks.append(f'<line class="level" x1="{across.at(0):.1f}" x2="{across.at(0):.1f}" y1="{TOP}" y2="{floor}"/>')
    for place, (run, own) in enumerate(found):
        marks += box(place, run.label, own, across, metric)
    return svg(floor + BOTTOM, marks, f"distribution of gains in {metric.title}")


def box(place: int, label: str, own: Sequence[float], across: "Axis", metric: Column) -> list[str]:
    """One run's box, whiskers and dots."""
    middle = TOP + BAND_HEIGHT * (place + 0.5)
    low, first, median, third, high = (float(q) for q in np.quantile(own, (0.05, 0.25, 0.5, 0.75, 0.95)))
    texts = ", ".join(number(value, metric.decimals, sign=True) for value in (low, first, median, third, high))
    title = f"<title>{escape(label)}: 5, 25, 50, 75, 95 % at {texts} ({len(own)} images)</title>"
    left, right = across.at(first), across.at(third)
    marks = [
        f'<text class="end" x="{LABELS - 12}" y="{middle + 4:.1f}">{title}{shortened(label)}</text>',
        f'<line class="interval c{place % 8}" x1="{across.at(low):.1f}" x2="{across.at(high):.1f}" '
        f'y1="{middle:.1f}" y2="{middle:.1f}"/>',
        f'<rect class="box c{place % 8}" x="{left:.1f}" y="{middle - 11:.1f}" width="{max(right - left, 1):.1f}" '
        f'height="22">{title}</rect>',
    ]
    if len(own) <= MOST_DOTS:
        for index, value in enumerate(own):
            # A fixed pattern instead of chance, so that a report is the same each time.
            level = middle + 9 * (((index * 0.618) % 1) * 2 - 1)
            marks.append(f'<circle class="dot c{place % 8}" cx="{across.at(value):.1f}" cy="{level:.1f}" r="2.2"/>')
    x = across.at(median)
    marks.append(f'<line class="median" x1="{x:.1f}" x2="{x:.1f}" y1="{middle - 11:.1f}" y2="{middle + 11:.1f}"/>')
    return marks


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


def axis_across(axis: Axis, floor: Pixels, title: str) -> list[str]:
    """Ticks and title below a plot."""
    marks = [f'<line class="axis" x1="{axis.start}" x2="{axis.stop}" y1="{floor}" y2="{floor}"/>']
    for value, text in axis.ticks():
        marks.append(
            f'<line class="grid" x1="{axis.at(value):.1f}" x2="{axis.at(value):.1f}" y1="{TOP}" y2="{floor}"/>'
        )
        marks.append(f'<text class="middle small" x="{axis.at(value):.1f}" y="{floor + 16}">{text}</text>')
    marks.append(f'<text class="middle" x="{(axis.start + axis.stop) / 2:.0f}" y="{floor + 36}">{escape(title)}</text>')
    return marks


def axis_up(axis: Axis, title: str, right: Pixels) -> list[str]:
    """Ticks and title left of a plot."""
    marks = [f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{axis.start}" y2="{axis.stop}"/>']
    for value, text in axis.ticks():
        y = axis.at(value)
        marks.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text class="end small" x="{LEFT - 6}" y="{y + 4:.1f}">{text}</text>')
    middle = (axis.start + axis.stop) / 2
    marks.append(f'<text class="middle" transform="translate(16 {middle:.0f}) rotate(-90)">{escape(title)}</text>')
    return marks


def shortened(label: str) -> str:
    """Cut a long label in its middle, where labels of a sweep differ least."""
    if len(label) <= LONGEST:
        return escape(label)
    half = (LONGEST - 1) // 2
    return escape(f"{label[:half]}…{label[-half:]}")


def svg(height: Pixels, marks: Sequence[str], title: str) -> str:
    """Put marks into an SVG element."""
    body = "".join(marks)
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'
