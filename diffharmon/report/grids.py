"""Tables as cells of text, which Markdown, LaTeX and HTML then only have to lay out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffharmon.columns import Column, format_number
from diffharmon.report.content import Content, Section
from diffharmon.report.pivot import Entry, Pivot
from diffharmon.report.published import VALUES, Published
from diffharmon.report.runs import Run
from diffharmon.report.statistics import Comparison, Estimate
from diffharmon.report.tables import Table
from diffharmon.results import digest_of
from diffharmon.results.summary import ARROWS, mean_of

GAIN_NOTE = (
    "Paired over images, positive where the run is better; 95 % bootstrap interval; "
    "p of the Wilcoxon signed-rank test from 6 pairs on, Holm-adjusted for the runs of the table."
)
MEAN_NOTE = "Means over images with their 95 % bootstrap interval; the best of the runs with the most images is bold."


@dataclass(frozen=True)
class Cell:
    """Text, the number it is sorted by, and whether it is the best of its column."""

    text: str
    value: float = math.nan
    best: bool = False

    @property
    def sort_key(self) -> str | None:
        """The number as a page sorts by it; None for a text."""
        if math.isinf(self.value):
            return "Infinity" if self.value > 0 else "-Infinity"
        return None if math.isnan(self.value) else f"{self.value:.10g}"

    @property
    def parts(self) -> list[str]:
        """The number, its interval (which may be empty) and the details after semicolons."""
        head, *details = self.text.split("; ")
        mean, bracket, interval = head.partition(" [")
        return [mean, bracket.strip() + interval, *details]


@dataclass(frozen=True)
class Grid:
    """A table to lay out.

    Attributes:
        title: Its heading.
        note: What a reader must know; may be empty.
        header: The columns' titles.
        rows: The cells.
        level: 3 for a table of its own, 4 for one that belongs to the one before.
        is_long: Whether a page should let it scroll.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    level: int = 3
    is_long: bool = False

    def is_number(self, place: int) -> bool:
        """Return whether a column holds numbers."""
        return any(not math.isnan(row[place].value) for row in self.rows)


def with_interval(estimate: Estimate, decimals: int, sign: bool = False) -> str:
    """Format a mean and, where there is one, its interval."""
    mean = format_number(estimate.mean, decimals, sign)
    if math.isnan(estimate.low):
        return mean
    return f"{mean} [{format_number(estimate.low, decimals, sign)}, {format_number(estimate.high, decimals, sign)}]"


def p_value(p: float) -> str:
    """Format a p-value; a small one as a bound."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def header(column: Column) -> str:
    """A column's title with the direction that is better."""
    return f"{column.title} {ARROWS[column.direction]}"


def grids(section: Section) -> list[Grid]:
    """All tables of a section: runs by their settings, means, gains over the baseline, published results."""
    found = [] if section.pivot is None else [pivot_grid(section.pivot)]
    for table in section.tables:
        found.append(mean_grid(table))
        if any(line.comparisons for line in table.lines):
            found.append(gain_grid(table))
        lines = (section.published or {}).get(table.group, ())
        if lines:
            found.append(published_grid(table, lines))
    return found


def pivot_grid(pivot: Pivot) -> Grid:
    """Runs by their settings; the best of a column is marked."""
    seeds = max((len(entry.seeds) for entry in pivot.entries.values()), default=1)
    note = f"Means over images ({pivot.counts}); the best of the lines with the most images is bold."
    if seeds > 1:
        note += " Runs that differ by the seed alone are one line: mean ± standard deviation over seeds."
    titles = [f"{pivot.name(column)} {header(value)}".strip() for column in pivot.columns for value in pivot.values]
    rows = []
    for line in pivot.rows:
        cells = [Cell(pivot.names.get(part, part)) for part in line]
        for column in pivot.columns:
            for value in pivot.values:
                entry = pivot.entries.get((line, column, value.key))
                best = pivot.rank(line, column, value) == 0
                cells.append(Cell("") if entry is None else Cell(with_deviation(entry, value), entry.mean, best))
        rows.append(tuple(cells))
    return Grid(f"Runs by {' and '.join(pivot.sides)}", note, (*pivot.sides, *titles), tuple(rows))


def with_deviation(entry: Entry, column: Column) -> str:
    """Format a mean and, where there are several seeds, its standard deviation."""
    mean = format_number(entry.mean, column.decimals)
    return mean if math.isnan(entry.deviation) else f"{mean} ± {format_number(entry.deviation, column.decimals)}"


def group_title(table: Table) -> str:
    """Name the images that a table covers."""
    if table.kind == "area":
        return f"Foreground {table.group} of the frame"
    return "All images" if table.group == "All" else f"Subset {table.group}"


def mean_grid(table: Table) -> Grid:
    """Means with intervals, a line a run."""
    rows = []
    for line in table.lines:
        cells = [Cell(line.run), Cell(str(line.count), float(line.count))]
        for column in table.columns:
            estimate = line.estimates.get(column.key)
            if estimate is None:
                cells.append(Cell(""))
                continue
            best = table.is_best(line, column)
            cells.append(Cell(with_interval(estimate, column.decimals), estimate.mean, best))
        rows.append(tuple(cells))
    return Grid(group_title(table), MEAN_NOTE, ("run", "images", *map(header, table.columns)), tuple(rows))


def gain_grid(table: Table) -> Grid:
    """Gains over the baseline, a line a run."""
    compared = [line for line in table.lines if line.comparisons]
    columns = [column for column in table.columns if any(column.key in line.comparisons for line in compared)]
    rows = [
        (Cell(line.run), *(gain_cell(line.comparisons.get(column.key), column.decimals) for column in columns))
        for line in compared
    ]
    title = f"{group_title(table)}: gain over {table.baseline}"
    return Grid(title, GAIN_NOTE, ("run", *(column.title for column in columns)), tuple(rows), 4)


def gain_cell(comparison: Comparison | None, decimals: int) -> Cell:
    """A gain, its interval, its p-value and on how many images it is positive."""
    if comparison is None:
        return Cell("")
    gain = comparison.gain
    parts = [with_interval(gain, decimals, sign=True)]
    if not math.isnan(comparison.adjusted):
        parts.append(p_value(comparison.adjusted))
    return Cell("; ".join([*parts, f"better on {comparison.better} of {gain.count}"]), gain.mean)


def published_grid(table: Table, lines: Sequence[Published]) -> Grid:
    """Published lines, ours among them, by PSNR."""
    decimals = {**dict.fromkeys(VALUES, 2), **{column.key: column.decimals for column in table.columns}}
    rows = [
        (
            Cell(line.method),
            Cell(line.category),
            *(
                Cell(format_number(line.numbers.get(key, math.nan), decimals[key]), line.numbers.get(key, math.nan))
                for key in VALUES
            ),
            Cell(line.protocol),
            Cell(line.source),
        )
        for line in lines
    ]
    for ours in table.lines:
        means = [ours.estimates[key].mean if key in ours.estimates else math.nan for key in VALUES]
        cells = (
            Cell(format_number(mean, decimals[key]), mean, best=True) for key, mean in zip(VALUES, means, strict=True)
        )
        rows.append(
            (Cell(ours.run, best=True), Cell("this report"), *cells, Cell("as above"), Cell(f"{ours.count} images"))
        )
    rows.sort(key=lambda row: -row[2].value if not math.isnan(row[2].value) else math.inf)
    title = f"{group_title(table)}: beside published results at {lines[0].resolution}"
    note = (
        "Ours bold. Published code differs in the peak value of PSNR, the background that is measured, a binary or "
        "soft mask and the resizing, so small differences between lines of different protocols are no evidence."
    )
    titles = ("method", "kind", "PSNR ↑", "MSE ↓", "fMSE ↓", "SSIM ↑", "measured", "source")
    return Grid(title, note, titles, tuple(rows), 4, True)


def run_grid(content: Content) -> Grid:
    """What was run: images, failures, cost."""
    rows = tuple(run_cells(run) for run in content.runs)
    titles = (
        "run",
        "finished",
        "failed",
        "seed",
        "seconds an image",
        "network evaluations an image",
        "config",
        "commit",
        "folder",
    )
    return Grid("Runs", "", titles, rows)


def run_cells(run: Run) -> tuple[Cell, ...]:
    """One run's line."""
    rows = [*run.rows.values()]
    digest = next((digest_of(row) for row in (*rows, *run.errors.values())), "")
    seconds, evaluations = (mean_of(rows, key) for key in ("seconds", "network_samples"))
    return (
        Cell(run.label),
        Cell(str(len(rows)), float(len(rows))),
        Cell(str(len(run.errors)), float(len(run.errors))),
        Cell(str(run.config.get("seed", ""))),
        Cell(format_number(seconds, 1), seconds),
        Cell(format_number(evaluations, 0), evaluations),
        Cell(digest),
        Cell(run.commit),
        Cell("/".join(run.folder.parts[-3:])),
    )


def error_grid(content: Content) -> Grid:
    """Every image that failed, with its reason."""
    rows = tuple(tuple(Cell(text) for text in error) for error in content.errors)
    return Grid(f"Failed images ({len(rows)})", "", ("run", "image", "reason"), rows)
