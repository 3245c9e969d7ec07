"""Tables for the terminal: one line a run, its means and gains."""

import math
from collections.abc import Sequence
from pathlib import Path

from diffharmon.columns import Column, format_number
from diffharmon.errors import InputError
from diffharmon.report.grids import Grid
from diffharmon.report.runs import Run, collect, views
from diffharmon.results.summary import ARROWS, mean_gain, mean_of, text_table

MAX_COLUMNS = 4
MAX_LABEL = 72


def print_sweep(folder: Path) -> None:
    """Print the table of a sweep; nothing where it left no row, such as a sweep of descriptions."""
    try:
        found = collect([folder])
    except InputError:
        return
    print(f"\n{tables([part for run in found.runs for part in views(run)])}")
    for job in found.without_rows:
        print(f"no image finished: {job}")
    print(f"report: diffharmon-report {folder}")


def tables(runs: Sequence[Run]) -> str:
    """One table for the runs of each way of measuring."""
    by_statement: dict[str, list[Run]] = {}
    for run in runs:
        by_statement.setdefault(run.statement, []).append(run)
    names = (", ".join(group.name for group in runs[0].groups) for runs in by_statement.values())
    return "\n\n".join(map(table, by_statement.values(), names))


def table(runs: Sequence[Run], title: str) -> str:
    """Runs by line; images, failures, means and gains of the first columns that any run has, main ones first."""
    columns = {column.key: column for run in runs for column in run.columns if column.in_tables}
    measured = [c for c in columns.values() if any(row.get(c.key) for run in runs for row in run.rows.values())]
    shown = sorted(measured, key=lambda column: not column.is_main)[:MAX_COLUMNS]
    header = [title, "images", "failed", *(f"{c.title} {ARROWS[c.direction]} (gain)" for c in shown)]
    rows = [[shortened(run.label), str(len(run.rows)), str(len(run.errors))] for run in runs]
    return text_table([header, *([*row, *(cell(run, c) for c in shown)] for row, run in zip(rows, runs, strict=True))])


def shortened(label: str) -> str:
    """Cut a long label, and show that it was."""
    return label if len(label) <= MAX_LABEL else f"{label[: MAX_LABEL - 1]}…"


def grid_table(grid: Grid) -> str:
    """Align a grid for the terminal; the best of a column has a star."""
    rows = [[f"{cell.text}*" if cell.best else cell.text for cell in row] for row in grid.rows]
    return text_table([list(grid.header), *rows])


def cell(run: Run, column: Column) -> str:
    """Mean of a column with its gain over the untouched composites."""
    rows = [*run.rows.values()]
    mean, gain = mean_of(rows, column.key), mean_gain(rows, column.key, f"composite_{column.key}", column)
    text = format_number(mean, column.decimals)
    return text if math.isnan(gain) else f"{text} ({format_number(gain, column.decimals, sign=True)})"
