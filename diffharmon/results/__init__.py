"""What a run leaves on disk: a folder an image (``outcome``), a row an image, a record a run; read without torch."""

import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffharmon.columns import ColumnGroup
from diffharmon.errors import InputError
from diffharmon.files import write_text
from diffharmon.results.names import folder_name

log = logging.getLogger(__name__)

IMAGES = "images"  # The folder in a run's folder that holds one folder an image, apart from the run's own files.


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


def read_rows(folder: Path, log_damaged: bool = False) -> list[dict[str, Any]]:
    """Read the rows of all processes; lines that are no rows, such as one that a crash cut short, are skipped.

    Args:
        folder: The run's folder.
        log_damaged: Log a warning for each file with such lines.
    """
    rows = []
    for path in sorted(folder.glob("rows*.jsonl")):
        lines = path.read_bytes().splitlines()
        found = [row for row in map(parse_row, lines) if row is not None]
        damaged = len(lines) - len(found)
        if damaged and log_damaged:
            log.warning("%s: %d of %d lines are damaged and skipped", path, damaged, len(lines))
        rows += found
    return rows


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Parse one line; None where it is no row: no JSON object in UTF-8 with a name and a status."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("name", "status"))
    return row if whole else None


def drop_rows(folder: Path, names: Collection[str]) -> None:
    """Remove the rows of the named images, so that only what is recomputed counts."""
    for path in folder.glob("rows*.jsonl"):
        rows = [row for row in map(parse_row, path.read_bytes().splitlines()) if row is not None]
        if any(row["name"] in names for row in rows):
            kept = [json.dumps(row, default=str) + "\n" for row in rows if row["name"] not in names]
            write_text(path, "".join(kept))


def picture_folder(folder: Path, row: Mapping[str, Any]) -> Path:
    """Return the folder of a row's image within the run's folder."""
    return folder / IMAGES / Path(str(row.get("folder") or folder_name(row["name"]))).name


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


def missing_rows(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line that names the images without a row; empty where every image has one."""
    found = {row["name"] for row in rows}
    missing = [name for name in names if name not in found]
    shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return f"{len(missing)} of {len(names)} images left no row: {shown}; run the same command again" if missing else ""


def missing_pictures(folder: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a line that names the finished images whose result is gone; empty where every one has its result."""
    gone = [
        row["name"]
        for row in rows
        if row["status"] == "ok" and next(picture_folder(folder, row).glob("harmonized.*"), None) is None
    ]
    shown = ", ".join(gone[:5]) + (", ..." if len(gone) > 5 else "")
    return f"{len(gone)} of {len(rows)} images left no picture: {shown}; run the same command again" if gone else ""


def means(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Average every number that all finished rows have; per image first, means after."""
    good = [row for row in rows if row["status"] == "ok"]
    shared = set.intersection(*(set(row) for row in good)) if good else set()
    numbers = {key for key in shared if all(isinstance(row[key], (int, float)) for row in good)}
    return {key: sum(row[key] for row in good) / len(good) for key in sorted(numbers)}
