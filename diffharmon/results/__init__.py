"""What a run leaves on disk: a folder an image (``outcome``), a row an image, a record a run; read without torch."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffharmon.columns import ColumnGroup
from diffharmon.errors import InputError
from diffharmon.files import write_text

# What decides neither an image nor a number: a change here keeps earlier rows valid.
NOT_HASHED = ("name", "trainer", "logger", "hydra", "experiment")


def config_hash(config: Mapping[str, Any]) -> str:
    """A short digest of everything in the resolved config that can change a result."""
    kept = {key: value for key, value in config.items() if key not in NOT_HASHED}
    dataset = kept.get("dataset")
    if isinstance(dataset, Mapping):
        # Which images are taken does not change what becomes of each.
        kept["dataset"] = {key: value for key, value in dataset.items() if key != "limit"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def safe_name(name: str) -> str:
    """A file name for an image's name: path separators become ``__``."""
    return name.replace("/", "__").replace("\\", "__").strip() or "image"


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file appears complete or not at all."""
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def read_columns(folder: Path) -> tuple[ColumnGroup, ...]:
    """Read the columns of a run's metrics from its record; none where there is no record yet.

    Raises:
        InputError: The record holds no columns, as those of versions before 0.2, or cannot be read.
    """
    path = folder / "run.json"
    if not path.is_file():
        return ()
    try:
        return tuple(ColumnGroup.from_json(group) for group in json.loads(path.read_text(encoding="utf-8"))["columns"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: cannot be read as a record with columns ({error!r}); expected the record that this "
            "version of diffharmon writes: run it again, or use the version that wrote it"
        ) from error


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line of JSON and have it on disk before returning; a line that a crash cut short is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(row, default=str).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of all processes; a line that a crash cut short is passed over."""
    rows = []
    for path in sorted(folder.glob("rows*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows


def finished_names(folder: Path, digest: str) -> set[str]:
    """Names of the images that a former run with the same config finished.

    Raises:
        InputError: The folder holds rows of another config, which must not be mixed.
    """
    rows = read_rows(folder)
    others = {digest_of(row) for row in rows} - {digest}
    if others:
        raise InputError(
            f"{folder} holds results of another configuration ({', '.join(sorted(others))}), this one is {digest}; "
            "expected a new hydra.run.dir, or the former configuration"
        )
    return {row["name"] for row in rows if row["status"] == "ok"}


def digest_of(row: Mapping[str, Any]) -> str:
    """Return the config hash of a row; rows of earlier versions call it ``config``."""
    return str(row.get("config_hash", row.get("config", "unknown")))


def newest_rows(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Read one row for each named image, in the order of the names; a finished row counts more than a failed one."""
    chosen: dict[str, dict[str, Any]] = {}
    for row in read_rows(folder):
        if row["name"] not in chosen or chosen[row["name"]]["status"] != "ok":
            chosen[row["name"]] = row
    return [chosen[name] for name in names if name in chosen]


def means(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Average every number that all finished rows have; per image first, means after."""
    good = [row for row in rows if row["status"] == "ok"]
    shared = set.intersection(*(set(row) for row in good)) if good else set()
    numbers = {key for key in shared if all(isinstance(row[key], (int, float)) for row in good)}
    return {key: sum(row[key] for row in good) / len(good) for key in sorted(numbers)}
