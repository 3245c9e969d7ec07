"""Results as the Hugging Face hub shows them on a model's page and on a benchmark's leaderboard: ``.eval_results``.

The format is that of https://huggingface.co/docs/hub/eval-results: a list of entries, each of which names the
benchmark's dataset on the hub, one of its tasks and a value.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from diffharmon.report.content import Content, Section
from diffharmon.report.pivot import PAPER_VALUES
from diffharmon.report.runs import Run
from diffharmon.report.tables import Line, Table
from diffharmon.results import digest_of

FOLDER = ".eval_results"


def write_hub(content: Content, dataset: str, folder: Path) -> list[Path]:
    """Write one YAML file a run into ``folder/.eval_results``; copied into a model's repository the hub reads it.

    A task is named after protocol, subset and number, such as ``ihd256_hcoco_fmse``; bands of area are left out.

    Args:
        content: The report.
        dataset: Id of the benchmark's dataset on the hub, such as ``user/benchmark``.
        folder: Where to write.
    """
    entries: dict[Path, list[EvalResultEntry]] = {}
    for section in content.sections:
        for table in (table for table in section.tables if table.kind == "subset"):
            for line in table.lines:
                run = next((run for run in section.runs if run.label == line.run and run.folder.parts), None)
                if run is not None:
                    path = folder / FOLDER / f"{file_name(run)}.yaml"
                    entries.setdefault(path, []).extend(entries_of(section, table, line, run, dataset))
    for path, found in entries.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(eval_result_entries_to_yaml(found), sort_keys=False), encoding="utf-8")
    return list(entries)


def entries_of(section: Section, table: Table, line: Line, run: Run, dataset: str) -> Iterator[EvalResultEntry]:
    """Yield the finite means of a paper's numbers, with how they were measured and by which configuration."""
    for column in (column for column in table.columns if column.key in PAPER_VALUES):
        estimate = line.estimates.get(column.key)
        group = next((group for group in run.groups if column in group.columns), None)
        if estimate is not None and group is not None and math.isfinite(estimate.mean):
            task = "_".join(plain(part) for part in (group.name, table.group, column.key))
            config = digest_of(next(iter(run.rows.values())))
            notes = f"{line.run}; {line.count} images; {group.statement}; diffharmon configuration {config}"
            yield EvalResultEntry(dataset, task, round(estimate.mean, 4), notes=notes)


def file_name(run: Run) -> str:
    """Name a run's file by its label and its folder, which distinguishes runs of equal labels."""
    return f"{plain(run.label)[:60]}-{plain(run.folder.name)}".strip("-")


def plain(text: str) -> str:
    """Spell a text in small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
