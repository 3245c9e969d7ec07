"""What a report says, before it is written as Markdown, LaTeX, CSV or HTML."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffharmon.report.published import Published, beside, sample_note
from diffharmon.report.runs import Collection, Run, find_run, unchanged
from diffharmon.report.tables import ALL, Table, tabulate


@dataclass(frozen=True)
class Section:
    """The runs of one metric protocol: numbers of different protocols never share a table.

    Attributes:
        protocol: Name of the protocol; empty for runs without ground truth.
        statement: The protocol's settings in words.
        runs: Its runs, the unchanged composite first where there is ground truth.
        baseline: What gains are measured against; None where nothing can be.
        tables: One per subset and area band.
        notes: What a reader must know to compare the lines.
        published: Published lines by the table's group.
    """

    protocol: str
    statement: str
    runs: tuple[Run, ...]
    baseline: Run | None
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    published: Mapping[str, tuple[Published, ...]] | None = None

    @property
    def title(self) -> str:
        """The heading."""
        return f"Protocol {self.protocol}" if self.protocol else "Without ground truth"


@dataclass(frozen=True)
class Content:
    """A whole report."""

    title: str
    runs: tuple[Run, ...]
    sections: tuple[Section, ...]
    without_rows: tuple[str, ...] = ()

    @property
    def errors(self) -> list[tuple[str, str, str]]:
        """Run, image and reason of every image that failed."""
        return [(run.label, name, str(row.get("error", ""))) for run in self.runs for name, row in run.errors.items()]


def make_content(
    collection: Collection, baseline: str | None = None, published: Sequence[Published] = (), seed: int = 0
) -> Content:
    """Sort runs by protocol and make all tables.

    Raises:
        InputError: No run, or several, have the baseline's name.
    """
    chosen = find_run(collection.runs, baseline) if baseline else None
    with_rows = [run for run in collection.runs if run.rows]
    statements = dict.fromkeys(statement_of(run) for run in with_rows)
    sections = [
        make_section([run for run in with_rows if statement_of(run) == statement], statement, chosen, published, seed)
        for statement in statements
    ]
    names = sorted({str(run.config.get("name", "") or run.folder.parent.name) for run in collection.runs})
    return Content(" and ".join(names), collection.runs, tuple(sections), collection.without_rows)


def statement_of(run: Run) -> str:
    """The protocol with its settings; what runs must have in common to share a table."""
    metrics = run.config.get("metrics")
    if not run.protocol or not isinstance(metrics, Mapping):
        return run.protocol
    kept = {key: value for key, value in metrics.items() if not key.startswith("_") and key != "name"}
    if isinstance(kept.get("threshold"), float):
        kept["threshold"] = f"{kept['threshold'] * 255:g}/255"
    settings = ", ".join(f"{key.replace('_', ' ')} {words(value)}" for key, value in kept.items())
    return f"{run.protocol}: {settings}{clip_statement(run.config.get('clip_score'))}"


def clip_statement(settings: object) -> str:
    """Which CLIP sees what beside which prompt; empty without CLIP."""
    if not isinstance(settings, Mapping) or "model" not in settings:
        return ""
    model = str(settings["model"])
    model = Path(model).name if Path(model).is_absolute() else model
    margin = settings.get("margin")
    crop = "whole frame" if margin is None else f"object with a margin of {margin:g}"
    crop += ", surroundings screened" if settings.get("context") else ""
    return f"; CLIP {model}, {crop}, prompt '{settings.get('template')}'"


def words(value: object) -> str:
    """A setting's value as people write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def make_section(
    runs: Sequence[Run], statement: str, chosen: Run | None, published: Sequence[Published], seed: int
) -> Section:
    """Make the tables of one protocol; without a chosen baseline gains are over the unchanged composite."""
    before = unchanged(runs)
    protocol = runs[0].protocol
    shown = tuple(runs) if before is None else (before, *runs)
    baseline = chosen if chosen is not None and chosen in runs else before
    tables = tabulate(shown, baseline, seed)
    beside_ours = {table.group: tuple(beside(published, runs, table.group)) for table in tables} if published else {}
    remarks = tuple(notes(runs, chosen, baseline, beside_ours))
    return Section(protocol, statement, shown, baseline, tuple(tables), remarks, beside_ours)


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
            f"The baseline {chosen.label} was measured by another protocol; gains are over the unchanged composite."
        )
    infinite = sum(not math.isfinite(row.get("psnr", 0.0)) for run in runs for row in run.rows.values())
    if infinite:
        found.append(f"{infinite} results equal the ground truth: PSNR is infinite there and left out of PSNR gains.")
    if published and not any(published.values()):
        found.append("No published line has the subset and resolution of these images.")
    sources = {str(row.get("source", "")) for run in runs for row in run.rows.values()}
    sample = sample_note(ALL, max(len(run.rows) for run in runs), sources)
    if any(published.values()) and sample:
        found.append(f"Beside published results: {sample}.")
    return found
