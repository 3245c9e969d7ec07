"""Run folders read back: which there are, what each is called, what their rows hold."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffharmon.columns import RUN, Column, ColumnGroup, baseline_keys
from diffharmon.errors import InputError
from diffharmon.results import read_columns, read_rows

Row = Mapping[str, Any]
UNCHANGED = "unchanged composite"
RECORDED = ("config", "choices", "versions")
# Overrides for where and how a job ran, not what it did.
BOOKKEEPING = ("name=", "logger", "trainer", "hydra", "run.", "sweep", "shard=")


@dataclass(frozen=True)
class Run:
    """What a report knows of one run.

    Attributes:
        label: What tables call it.
        folder: Where it lies.
        rows: The rows of harmonized images, by name.
        errors: The rows of images that failed, by name.
        overrides: The overrides it was started with.
        config: Its resolved configuration.
        groups: The columns of its metrics.
        choices: What was chosen in each configuration group.
        commit: Commit of diffharmon that made it; empty where it is not known.
    """

    label: str
    folder: Path
    rows: Mapping[str, Row]
    errors: Mapping[str, Row] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[ColumnGroup, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns of its rows, the metrics' before the runner's own."""
        return tuple(column for group in (*self.groups, RUN) for column in group.columns)

    @property
    def statement(self) -> str:
        """Which metrics measured it and how; what runs must have in common to share a table."""
        return "; ".join(f"{group.name}: {group.statement}" for group in self.groups)


@dataclass(frozen=True)
class Collection:
    """All runs of a report and the jobs that left no row, with what is known of them."""

    runs: tuple[Run, ...]
    without_rows: tuple[str, ...] = ()


def collect(paths: Iterable[Path]) -> Collection:
    """Read all runs in ``paths``, each a run folder or a folder that holds some at any depth.

    Raises:
        InputError: A folder cannot be read, or holds no run.
    """
    runs: list[Run] = []
    empty: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        folders = [folder for folder in run_folders(path) if folder.resolve() not in seen]
        seen |= {folder.resolve() for folder in folders}
        for folder in folders:
            run = read_run(folder)
            if run.rows or run.errors:
                runs.append(run)
            else:
                empty.append(f"{folder} ({' '.join(run.overrides) or 'no overrides'})")
    if not runs:
        raise InputError(f"no images are finished in {', '.join(empty)}; expected at least one row")
    return Collection(tuple(name_runs(runs)), tuple(empty))


def run_folders(path: Path) -> list[Path]:
    """Find the run folders at or below ``path``, numbered ones in the order of their numbers.

    Raises:
        InputError: There is none.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected a run or a sweep folder of diffharmon")
    marks = {mark for name in ("rows*.jsonl", "run.json", ".hydra/overrides.yaml") for mark in path.rglob(name)}
    folders = {mark.parent.parent if mark.parent.name == ".hydra" else mark.parent for mark in marks}
    if not folders:
        raise InputError(f"{path}: no run in it; expected rows-rank*.jsonl and run.json, there or in folders below")
    return sorted(folders, key=natural)


def natural(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts job 2 before job 10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", str(path)) if part]


def read_run(folder: Path) -> Run:
    """Read one run; of several rows of an image the last counts, a finished one before a failed one.

    Raises:
        InputError: Its record or its rows cannot be read.
    """
    try:
        rows = read_rows(folder)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder}: its rows cannot be read: {error}") from error
    files = [path for path in folder.glob("rows*.jsonl") if path.stat().st_size]
    broken = [row for row in rows if not isinstance(row, dict) or "name" not in row or "status" not in row]
    if broken or (files and not rows):
        raise InputError(
            f"{folder}: rows*.jsonl holds something else than rows; expected one JSON object a line, with a name"
        )
    good = {row["name"]: row for row in rows if row["status"] == "ok"}
    bad = {row["name"]: row for row in rows if row["status"] != "ok" and row["name"] not in good}
    overrides = read_overrides(folder / ".hydra" / "overrides.yaml")
    if rows and not (folder / "run.json").is_file():
        raise InputError(f"{folder}: it has rows but no run.json; expected the folder as a run wrote it")
    groups = read_columns(folder) if rows else ()
    record = read_record(folder / "run.json")
    commit = str(record["versions"].get("commit", ""))
    return Run(folder.name, folder, good, bad, overrides, record["config"], groups, record["choices"], commit)


def read_overrides(path: Path) -> tuple[str, ...]:
    """Read the overrides that Hydra recorded; none where it recorded nothing."""
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(line[2:].strip().strip("'\"").removeprefix("++") for line in lines if line.startswith("- "))


def read_record(path: Path) -> dict[str, dict[str, Any]]:
    """Read a run's resolved configuration, group choices and versions; empty where there is no record.

    Raises:
        InputError: The record is not JSON.
    """
    if not path.is_file():
        return {key: {} for key in RECORDED}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {key: dict(record.get(key, {})) for key in RECORDED}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: cannot be read: {error}; expected the record that a run writes") from error


def name_runs(runs: Sequence[Run]) -> list[Run]:
    """Label runs by the overrides in which those of a study differ, after the study's name where there are several.

    Where that leaves equal labels, the folders' names are added.
    """
    studies = {study_of(run) for run in runs}
    labels = []
    for run in runs:
        others = [set(other.overrides) for other in runs if study_of(other) == study_of(run)]
        shared = set.intersection(*others) if len(others) > 1 else set()
        own = [o for o in run.overrides if o not in shared and not o.startswith(BOOKKEEPING)]
        parts = [study_of(run)] * (len(studies) > 1 or not own) + [" ".join(own)] * bool(own)
        labels.append(": ".join(parts))
    counts = Counter(labels)
    labels = [
        label if counts[label] == 1 and label != UNCHANGED else f"{label} ({run.folder.parent.name}/{run.folder.name})"
        for label, run in zip(labels, runs, strict=True)
    ]
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def study_of(run: Run) -> str:
    """The study's name, else that of its folder."""
    return str(run.config.get("name", "") or run.folder.name)


def find_run(runs: Sequence[Run], name: str) -> Run:
    """Find a run by label, folder name or path.

    Raises:
        InputError: None or several have that name.
    """
    found = [run for run in runs if name in (run.label, run.folder.name, str(run.folder))]
    found = found or [run for run in runs if name in run.label]
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        known = ", ".join(repr(run.label) for run in runs)
        raise InputError(f"--baseline {name!r} fits {what}; expected one of {known}")
    return found[0]


def views(run: Run) -> list[Run]:
    """Split a run by its metrics, so that no table has two columns of one kind.

    The first view has the metrics whose keys are plain in the rows, each further one a metric whose keys carry its name
    as a prefix, with the prefix taken off. Metrics that measured no image are left out.
    """
    present = {key for row in run.rows.values() for key in row}
    measured = [group for group in run.groups if any(group.key(column) in present for column in group.columns)]
    plain = tuple(group for group in measured if not group.prefix)
    own = [(group,) for group in measured if group.prefix]
    return [view(run, groups) for groups in ([plain, *own] if plain or not own else own)]


def view(run: Run, groups: tuple[ColumnGroup, ...]) -> Run:
    """Keep some metrics of a run, under plain keys."""
    measured = {group.key(column) for group in run.groups for column in group.columns}
    dropped = measured | set(baseline_keys(run.groups))
    rows = {}
    for name, row in run.rows.items():
        kept = {key: value for key, value in row.items() if key not in dropped}
        for group in groups:
            for column in group.columns:
                for source, key in (
                    (group.key(column), column.key),
                    (group.baseline_key(column), f"composite_{column.key}"),
                ):
                    if source in row:
                        kept[key] = row[source]
        rows[name] = kept
    return replace(run, rows=rows, groups=tuple(replace(group, prefix="") for group in groups))


def unchanged(runs: Sequence[Run]) -> Run | None:
    """The untouched composites as a run of their own, as the runs' rows have them; None where nothing was measured."""
    disputed = disputed_columns(runs)
    rows: dict[str, Row] = {}
    for run in runs:
        before = [column.key for column in run.columns if column.has_baseline and column.key not in disputed]
        for name, row in run.rows.items():
            found = {key: row[f"composite_{key}"] for key in before if f"composite_{key}" in row}
            if found and name not in rows:
                same = {key: row[key] for key in ("name", "source", "area") if key in row}
                rows[name] = {**same, **found, "status": "ok", "seconds": 0.0, "network_calls": 0, "network_samples": 0}
    return Run(UNCHANGED, Path(), rows) if rows else None


def disputed_columns(runs: Sequence[Run]) -> set[str]:
    """Columns whose value for the same untouched composite differs between runs, as CLIP's does with the words."""
    known: dict[tuple[str, str], float] = {}
    disputed = set()
    for run in runs:
        for column in (column for column in run.columns if column.has_baseline):
            for name, row in run.rows.items():
                value = row.get(f"composite_{column.key}")
                if value is not None and not math.isclose(known.setdefault((name, column.key), value), value):
                    disputed.add(column.key)
    return disputed
