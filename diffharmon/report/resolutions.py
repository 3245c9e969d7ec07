"""Evaluation protocols beside each other: the same runs at 256 x 256, 512 x 512 and full size in one table."""

from diffharmon.columns import Column
from diffharmon.report.content import Content, Section
from diffharmon.report.grids import Cell, Grid, header
from diffharmon.report.pivot import PAPER_VALUES
from diffharmon.report.tables import ALL, Table

NOTE = "Means over all images, each protocol by its metric's name; its settings stand with its own tables below."


def resolution_grid(content: Content) -> Grid | None:
    """Lay out all runs by protocol, as DiffHarmony's evaluation prints them; None for a single protocol."""
    found = [
        (name, table)
        for section in content.sections
        if (name := protocol(section)) and (table := next((t for t in section.tables if t.group == ALL), None))
    ]
    if len(found) < 2:
        return None
    labels = list(dict.fromkeys(line.run for _, table in found for line in table.lines))
    columns = [column for key in PAPER_VALUES for column in found[0][1].columns if column.key == key]
    titles = [f"{header(column)} {name}" for column in columns for name, _ in found]
    rows = [(Cell(run), *(cell(table, run, column) for column in columns for _, table in found)) for run in labels]
    return Grid("Protocols side by side", NOTE, ("run", *titles), tuple(rows))


def protocol(section: Section) -> str:
    """Return the name of the metric that measured PSNR; empty where none did."""
    groups = (group for run in section.runs for group in run.groups)
    return next((group.name for group in groups if any(column.key == "psnr" for column in group.columns)), "")


def cell(table: Table, run: str, column: Column) -> Cell:
    """The mean of one run under one protocol; empty where it was not measured."""
    line = next((line for line in table.lines if line.run == run), None)
    estimate = None if line is None else line.estimates.get(column.key)
    if line is None or estimate is None:
        return Cell("")
    return Cell(f"{estimate.mean:.{column.decimals}f}", estimate.mean, table.is_best(line, column))
