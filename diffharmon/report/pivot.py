"""Runs laid out by their settings: a line per method, a column per dataset or subset, seeds averaged."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from diffharmon.columns import Column
from diffharmon.errors import InputError
from diffharmon.report.runs import UNCHANGED, Run, unchanged
from diffharmon.report.settings import MISSING, SUBSET, check_key, differences, is_baseline, setting
from diffharmon.report.statistics import Comparison, compare, holm
from diffharmon.report.tables import ALL
from diffharmon.results.summary import is_number, mean_of

Key = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What a pivot table has on its sides.

    Attributes:
        rows: Group choices or configuration keys whose values make a line; ``run`` is the run's label.
        columns: Those whose values make a column; ``subset`` splits the images of each run.
        values: Keys of the numbers in each cell; None takes those of a paper that the runs have.
        names: What tables call a setting, in the order of the lines.
    """

    rows: Key = ("run",)
    columns: Key = ("subset",)
    values: Key | None = None
    names: Mapping[str, str] = field(default_factory=dict)


PAPER_VALUES = ("psnr", "mse", "fmse")


@dataclass(frozen=True)
class Entry:
    """One number of a pivot table.

    Attributes:
        images: The number of each image, averaged over seeds.
        seeds: The mean over images, by run.
        evaluations: network evaluations per image; NaN where they are not known.
        comparison: Against the baseline's line in the same column; None for the baseline itself.
    """

    images: Mapping[str, float]
    seeds: tuple[float, ...]
    evaluations: float = math.nan
    comparison: Comparison | None = None

    @property
    def mean(self) -> float:
        """Mean over seeds of the mean over images."""
        return sum(self.seeds) / len(self.seeds)

    @property
    def deviation(self) -> float:
        """Sample standard deviation over seeds; NaN for a single one."""
        return statistics.stdev(self.seeds) if len(self.seeds) > 1 else math.nan


@dataclass(frozen=True)
class Pivot:
    """A table of entries by line, column and number.

    Attributes:
        title: What the columns of numbers were measured with.
        sides: Keys of the lines.
        rows: Lines in their order.
        columns: Columns in their order.
        values: Numbers of each cell.
        entries: Entry by line, column and the number's key.
        baseline: The line that gains are over.
        names: What tables call a setting.
    """

    title: str
    sides: Key
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    values: tuple[Column, ...]
    entries: Mapping[tuple[Key, Key, str], Entry]
    baseline: Key
    names: Mapping[str, str]

    def name(self, key: Key) -> str:
        """Name a line or column."""
        return ", ".join(self.names.get(part, part) for part in key if part)

    @property
    def counts(self) -> str:
        """How many images each column's means are over, such as ``8 images`` or ``mini: 8, own: 6 to 8 images``."""
        found: dict[str, set[int]] = {}
        for (_, column, _), entry in self.entries.items():
            found.setdefault(self.name(column), set()).add(len(entry.images))
        spans = {name: " to ".join(map(str, sorted({min(own), max(own)}))) for name, own in found.items()}
        if len(set(spans.values())) == 1:
            return f"{next(iter(spans.values()))} images{' a column' if len(spans) > 1 else ''}"
        own = ", ".join(f"{name}: {spans[name]}" for name in map(self.name, self.columns) if name in spans)
        return f"{own} images"

    def rank(self, row: Key, column: Key, value: Column) -> int | None:
        """Place of an entry among the different means of its column, 0 is best; None where it cannot be ranked.

        Lines that lack images which others have are not ranked.
        """
        found = {line: entry for line in self.rows if (entry := self.entries.get((line, column, value.key)))}
        complete = max((len(entry.images) for entry in found.values()), default=0)
        ranked = {line: entry.mean for line, entry in found.items() if len(entry.images) == complete}
        if row not in ranked or len(ranked) < 2 or value.direction == "none":
            return None
        return sorted(set(ranked.values()), reverse=value.higher_is_better).index(ranked[row])


def make_pivot(runs: Sequence[Run], title: str, layout: Layout, chosen: Run | None = None, seed: int = 0) -> Pivot:
    """Lay out runs that were measured in one way.

    Args:
        runs: The runs, without the unchanged composite, which gets a line of its own.
        title: The metrics' names.
        layout: The sides and numbers.
        chosen: The run whose line gains are over; None takes the unchanged composite.
        seed: Seed of the bootstrap.

    Raises:
        InputError: A key or number is unknown, or runs that differ by more than the seed would share a cell.
    """
    for option, keys in (("--rows", layout.rows), ("--columns", layout.columns)):
        for key in keys:
            check_key(runs, key, option)
    values = chosen_values(runs, layout.values)
    cells: dict[tuple[Key, Key], list[Run]] = {}
    for run in runs:
        for line, column, part in parts(run, layout):
            cells.setdefault((line, column), []).append(part)
    composites: Key = (UNCHANGED, *[""] * (len(layout.rows) - 1))
    entries: dict[tuple[Key, Key, str], Entry] = {}
    for (line, column), found in cells.items():
        check_cell(found, line, column)
        fill(entries, line, column, found, values)
    columns = order([column for _, column in cells], layout.names)
    for column in columns:
        before = unchanged([run for (_, other), found in cells.items() if other == column for run in found])
        if before is not None:
            fill(entries, composites, column, [before], values)
    lines = order(baselines_first(cells), layout.names)
    if any(line == composites for line, _, _ in entries):
        lines = [composites, *lines]
    baseline = composites if chosen is None else side(chosen, layout.rows)
    compared = comparisons(entries, lines, columns, values, baseline, seed)
    return Pivot(title, layout.rows, tuple(lines), tuple(columns), values, compared, baseline, layout.names)


def baselines_first(cells: Mapping[tuple[Key, Key], Sequence[Run]]) -> list[Key]:
    """Return the lines, those before that evaluated no network in any column."""
    lines: dict[Key, bool] = {}
    for (line, _), runs in cells.items():
        lines[line] = lines.get(line, True) and all(map(is_baseline, runs))
    return sorted(lines, key=lambda line: not lines[line])


def chosen_values(runs: Sequence[Run], keys: Key | None) -> tuple[Column, ...]:
    """Find the columns of numbers by key; those of a paper where none are named.

    Raises:
        InputError: The runs have no such number.
    """
    known = {column.key: column for run in runs for column in run.columns}
    if keys is None:
        return tuple(known[key] for key in PAPER_VALUES if key in known)
    missing = [key for key in keys if key not in known]
    if missing:
        raise InputError(f"--values {', '.join(missing)}: no run has it; expected some of {', '.join(known)}")
    return tuple(known[key] for key in keys)


def side(run: Run, keys: Key) -> Key:
    """Return a run's settings; a setting that only other runs have is a dash."""
    return tuple(setting(run, key) or MISSING for key in keys)


def parts(run: Run, layout: Layout) -> list[tuple[Key, Key, Run]]:
    """Return the cells that a run belongs to: one, or one per subset and one for all where subsets make a side."""
    if SUBSET not in (*layout.rows, *layout.columns):
        return [(side(run, layout.rows), side(run, layout.columns), run)]
    sources = sorted({str(row.get("source", "")) for row in run.rows.values()})
    found = []
    for name in (*sources, ALL) if len(sources) != 1 else (sources[0] or ALL,):
        rows = {key: row for key, row in run.rows.items() if name in (ALL, str(row.get("source", "")))}
        sides = [
            tuple(name if key == SUBSET else setting(run, key) or MISSING for key in keys)
            for keys in (layout.rows, layout.columns)
        ]
        found.append((sides[0], sides[1], replace(run, rows=rows)))
    return found


def check_cell(runs: Sequence[Run], line: Key, column: Key) -> None:
    """Refuse to average runs that differ by more than the seed, or that repeat one.

    Raises:
        InputError: With what they differ in.
    """
    place = f"{len(runs)} runs share the line {', '.join(line)} and the column {', '.join(column)}"
    differing = differences(runs)
    if differing:
        raise InputError(f"{place} but differ in {', '.join(differing[:5])}; expected it in --rows or --columns")
    seeds = [run.config.get("seed") for run in runs]
    if len(set(seeds)) < len(seeds):
        folders = ", ".join(str(run.folder) for run in runs)
        raise InputError(f"{place} and repeat a seed ({folders}); expected one run of each seed")


def fill(
    entries: dict[tuple[Key, Key, str], Entry], line: Key, column: Key, runs: Sequence[Run], values: Sequence[Column]
) -> None:
    """Add the entries of one cell; seeds are averaged over the images that all of them finished."""
    common = sorted(set.intersection(*(set(run.rows) for run in runs)))
    for value in values:
        numbers: list[list[Any]] = [[run.rows[name].get(value.key) for name in common] for run in runs]
        if common and all(is_number(number) for own in numbers for number in own):
            means = tuple(math.fsum(own) / len(own) for own in numbers)
            images = {name: sum(own[i] for own in numbers) / len(runs) for i, name in enumerate(common)}
            cost = mean_of([row for run in runs for row in run.rows.values()], "network_samples")
            entries[line, column, value.key] = Entry(images, means, cost)


def order(keys: Sequence[Key], names: Mapping[str, str]) -> list[Key]:
    """Order lines or columns as their names are listed, then as they come; all images stand after the subsets."""
    places = {name: place for place, name in enumerate(names)}
    found = list(dict.fromkeys(keys))
    return sorted(found, key=lambda key: (ALL in key, *(places.get(part, len(places)) for part in key)))


def comparisons(
    entries: Mapping[tuple[Key, Key, str], Entry],
    lines: Sequence[Key],
    columns: Sequence[Key],
    values: Sequence[Column],
    baseline: Key,
    seed: int,
) -> dict[tuple[Key, Key, str], Entry]:
    """Compare each line with the baseline's on common images; p-values are corrected for the lines of a column."""
    found = dict(entries)
    for column in columns:
        for value in values:
            base = entries.get((baseline, column, value.key))
            own = {line: entries.get((line, column, value.key)) for line in lines if line != baseline}
            made = {line: paired(entry, base, value, seed) for line, entry in own.items() if entry and base}
            made = {line: comparison for line, comparison in made.items() if comparison is not None}
            adjusted = holm([comparison.p for comparison in made.values() if comparison is not None])
            for (line, comparison), p in zip(made.items(), adjusted, strict=True):
                place = (line, column, value.key)
                if comparison is not None:
                    found[place] = replace(entries[place], comparison=replace(comparison, adjusted=p))
    return found


def paired(entry: Entry, base: Entry, value: Column, seed: int) -> Comparison | None:
    """Compare two entries on the images that both have; None where there are none."""
    common = sorted(entry.images.keys() & base.images.keys())
    ours, theirs = ([own.images[name] for name in common] for own in (entry, base))
    return compare(ours, theirs, value.higher_is_better, seed) if common else None
