"""The content of a report, before it is written as Markdown, LaTeX, CSV or HTML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffharmon.columns import Column
from diffharmon.preference.answers import Session
from diffharmon.report.pivot import Layout, Pivot, make_pivot
from diffharmon.report.published import Published, beside, sample_note
from diffharmon.report.runs import Collection, Row, Run, disputed_columns, find_run, unchanged, views
from diffharmon.report.tables import ALL, Table, tabulate


@dataclass(frozen=True)
class Section:
    """Runs that were measured in one way: numbers of different evaluation protocols never share a table.

    Attributes:
        metrics: Names of the metrics; empty for runs without ground truth.
        statement: The metrics' settings in words.
        runs: Its runs, the unchanged composite first where there is ground truth.
        baseline: What gains are measured against; None where nothing can be.
        tables: One per subset and area band.
        notes: What a reader must know to compare the lines.
        published: Published lines by the table's group.
        pivot: The runs by their settings; None where no layout was asked for.
    """

    metrics: tuple[str, ...]
    statement: str
    runs: tuple[Run, ...]
    baseline: Run | None
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    published: Mapping[str, tuple[Published, ...]] | None = None
    pivot: Pivot | None = None

    @property
    def title(self) -> str:
        """The heading."""
        return f"Metrics {', '.join(self.metrics)}" if self.metrics else "Score alone"


def counted(count: int, noun: str) -> str:
    """A number and its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Content:
    """A whole report."""

    title: str
    runs: tuple[Run, ...]
    sections: tuple[Section, ...]
    without_rows: tuple[str, ...] = ()
    sessions: tuple[Session, ...] = ()

    @property
    def made_of(self) -> str:
        """Runs, images, failures and the commits of diffharmon that made them, in one line."""
        finished = sum(len(run.rows) for run in self.runs)
        different = len({(row.get("source"), name) for run in self.runs for name, row in run.rows.items()})
        parts = [counted(len(self.runs), "run"), f"{counted(finished, 'result')} of {counted(different, 'image')}"]
        parts.append(f"{len(self.errors)} failed" if self.errors else "none failed")
        if self.without_rows:
            parts.append(f"{counted(len(self.without_rows), 'job')} left nothing")
        commits = sorted({run.commit or "unknown" for run in self.runs})
        return f"{', '.join(parts)}; diffharmon at commit{'s' * (len(commits) > 1)} {', '.join(commits)}."

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """Run, image and reason of every image that failed."""
        return [(run.label, name, str(row.get("error", ""))) for run in self.runs for name, row in run.errors.items()]


def make_content(
    collection: Collection,
    baseline: str | None = None,
    published: Sequence[Published] = (),
    seed: int = 0,
    layout: Layout | None = None,
    sessions: Sequence[Session] = (),
) -> Content:
    """Sort runs by how they were measured and make all tables.

    Raises:
        InputError: No run, or several, have the baseline's name.
    """
    chosen = find_run(collection.runs, baseline) if baseline else None
    with_rows = [run for run in collection.runs if run.rows]
    by_statement: dict[str, list[Run]] = {}
    for part in (part for run in with_rows for part in views(run)):
        by_statement.setdefault(part.statement, []).append(part)
    sections = [make_section(runs, chosen, published, seed, layout) for runs in by_statement.values()]
    names = sorted({str(run.config.get("name", "") or run.folder.parent.name) for run in collection.runs})
    return Content(" and ".join(names), collection.runs, tuple(sections), collection.without_rows, tuple(sessions))


def make_section(
    runs: Sequence[Run], chosen: Run | None, published: Sequence[Published], seed: int, layout: Layout | None
) -> Section:
    """Make the tables of runs that were measured in one way; gains are over the chosen run, else the composites."""
    before = unchanged(runs)
    names = tuple(group.name for group in runs[0].groups)
    chosen = next((run for run in runs if chosen is not None and run.label == chosen.label), chosen)
    shown = tuple(runs) if before is None else (before, *runs)
    baseline = chosen if chosen is not None and chosen in runs else before
    tables = tabulate(shown, baseline, seed)
    beside_ours = {table.group: tuple(beside(published, runs, table.group)) for table in tables} if published else {}
    remarks = tuple(notes(runs, chosen, baseline, beside_ours))
    over = None if baseline is before else baseline
    pivot = make_pivot(runs, ", ".join(names), layout, over, seed) if layout is not None else None
    return Section(names, runs[0].statement, shown, baseline, tuple(tables), remarks, beside_ours, pivot)


def notes(
    runs: Sequence[Run], chosen: Run | None, baseline: Run | None, published: Mapping[str, Sequence[Published]]
) -> list[str]:
    """What limits a comparison of the lines of a section."""
    found = []
    sizes = {frozenset(run.rows) for run in runs}
    if len(sizes) > 1:
        common = frozenset.intersection(*sizes)
        found.append(
            f"The runs did not finish the same images ({min(map(len, sizes))} to {max(map(len, sizes))}, "
            f"{len(common)} in common): means are over each run's own images, gains over common ones."
        )
    if chosen is not None and chosen is not baseline:
        found.append(
            f"The baseline {chosen.label} was measured in another way; gains are over the unchanged composite."
        )
    infinite = sum(has_infinite(row, run.columns) for run in runs for row in run.rows.values())
    if infinite:
        found.append(f"{infinite} results equal the ground truth: PSNR is infinite there and left out of PSNR gains.")
    disputed = sorted(disputed_columns(runs))
    if disputed:
        found.append(f"The runs differ in {', '.join(disputed)} of the same composites, so no gain is taken in it.")
    if published and not any(published.values()):
        found.append("No published line has the subset and resolution of these images.")
    sources = {str(row.get("source", "")) for run in runs for row in run.rows.values()}
    sample = sample_note(ALL, max(len(run.rows) for run in runs), sources)
    if any(published.values()) and sample:
        found.append(f"Beside published results: {sample}.")
    return found


def has_infinite(row: Row, columns: Sequence[Column]) -> bool:
    """Return whether any measured number of a row is infinite."""
    found = (row.get(column.key) for column in columns)
    return any(isinstance(value, float) and math.isinf(value) for value in found)
