"""Figures of a paper, drawn by matplotlib as PDF and SVG of a column's width."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffharmon.columns import Column
from diffharmon.errors import ConfigError
from diffharmon.report.pivot import Key, Pivot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 3.4  # inches: one column of a two-column page
MAX_LABEL = 28  # characters of a line beside the axes
# Fonts are embedded as TrueType, which submission systems ask for; texts of an SVG stay texts.
# Any for the keys: matplotlib 3.11 types them as a literal of every setting, 3.10 as str.
STYLE: dict[Any, Any] = {
    "font.size": 7,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "diffharmon",
    "axes.linewidth": 0.6,
}


def draw(pivot: Pivot, folder: Path, number: int = 1) -> list[Path]:
    """Draw a pivot table's last column: gains image by image, and the mean against compute.

    Args:
        pivot: The table.
        folder: Where to write.
        number: The table's number; further ones than the first stand in the files' names.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("--paper: matplotlib is not installed; expected pip install 'diffharmon[figures]'") from error
    value = next((value for value in pivot.values if value.higher_is_better), pivot.values[0])
    column = pivot.columns[-1]
    lines = [line for line in pivot.rows if (line, column, value.key) in pivot.entries]
    written = []
    for name, plot in (("gains", gains), ("compute", compute)):
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, 0.7 + 0.28 * len(lines) if plot is gains else 2.4), layout="constrained")
            if not plot(figure.add_subplot(), pivot, lines, column, value):
                continue
            for suffix, date in (("pdf", "CreationDate"), ("svg", "Date")):
                path = folder / f"{name}{f'_{number}' if number > 1 else ''}.{suffix}"
                figure.savefig(path, metadata={date: None})  # The same rows give the same file.
                written.append(path)
    return written


def gains(axes: "Axes", pivot: Pivot, lines: Sequence[Key], column: Key, value: Column) -> bool:
    """Draw a box per line over its gains; returns whether there is a baseline to gain on."""
    base = pivot.entries.get((pivot.baseline, column, value.key))
    shown, found = [], []
    sign = 1 if value.higher_is_better else -1
    for line in lines:
        images = pivot.entries[line, column, value.key].images
        pairs = [(images[name], base.images[name]) for name in images if base is not None and name in base.images]
        own = [sign * (after - before) for after, before in pairs if math.isfinite(after) and math.isfinite(before)]
        if line != pivot.baseline and own:
            shown.append(textwrap.fill(pivot.name(line), MAX_LABEL, break_long_words=False))
            found.append(own)
    if not found:
        return False
    axes.boxplot(found, orientation="horizontal", whis=(5, 95), showfliers=False, tick_labels=shown, widths=0.6)
    axes.axvline(0, color="0.5", linewidth=0.8, linestyle="--")
    axes.invert_yaxis()
    unit = f" [{value.unit}]" if value.unit else ""
    # Below the whole figure: long names beside the axes leave them too narrow for it.
    axes.figure.supxlabel(f"gain in {value.title}{unit} over {pivot.name(pivot.baseline)}", size=STYLE["font.size"])
    return True


def compute(axes: "Axes", pivot: Pivot, lines: Sequence[Key], column: Key, value: Column) -> bool:
    """Draw the mean of each line against its network evaluations; returns whether any line has some."""
    entries = [pivot.entries[line, column, value.key] for line in lines]
    if not any(entry.evaluations > 0 for entry in entries):
        return False
    markers = "osD^vP*X"
    for place, (line, entry) in enumerate(zip(lines, entries, strict=True)):
        spread = None if math.isnan(entry.deviation) else entry.deviation
        marker = markers[place % len(markers)]
        axes.errorbar(
            entry.evaluations, entry.mean, yerr=spread, fmt=marker, markersize=4, capsize=2, label=pivot.name(line)
        )
    axes.set_xlabel("network evaluations per image")
    axes.set_ylabel(f"{value.title}{f' [{value.unit}]' if value.unit else ''}")
    axes.grid(linewidth=0.3)
    axes.figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return True
