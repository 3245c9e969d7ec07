"""The rows of a run as a W&B table: pictures, words, gain, then everything that was measured."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffharmon.columns import ColumnGroup, main_column, ordered_keys
from diffharmon.results import picture_folder
from diffharmon.types import Description

PICTURES = ("composite", "result", "real", "mask")
# The same for all images of a run, or shown in a column of its own.
LEFT_OUT = ("name", "seed", "config_hash", "status", "folder")


def table_columns(groups: Sequence[ColumnGroup], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the table's columns: name, pictures, words and gain, then all other keys that any row has."""
    rows = list(rows)
    present = {key for row in rows for key in row if key not in LEFT_OUT and not key.endswith("_digest")}
    return ["name", *PICTURES, "words", "gain", *(key for key in ordered_keys(groups, rows) if key in present)]


def table_row(
    folder: Path,
    row: Mapping[str, Any],
    columns: Sequence[str],
    groups: Sequence[ColumnGroup],
    with_pictures: bool,
) -> list[Any]:
    """Return one image's cells; what does not exist is None.

    Args:
        folder: The run's folder.
        row: The image's row.
        columns: As ``table_columns`` returns them.
        groups: The columns of the run's metrics.
        with_pictures: Whether the pictures are shown.
    """
    import wandb

    place = picture_folder(folder, row)
    cells: dict[str, Any] = {**row, "words": words(place), "gain": gain(row, groups)}
    for title in PICTURES:
        path = place / f"{title}.jpg"
        cells[title] = wandb.Image(str(path), caption=str(row["name"])) if with_pictures and path.is_file() else None
    return [cells.get(column) for column in columns]


def gain(row: Mapping[str, Any], groups: Sequence[ColumnGroup]) -> float | None:
    """Return the gain in the run's main number over the untouched composite."""
    main = main_column(groups)
    if main is None:
        return None
    group, column = main
    after, before = row.get(group.key(column)), row.get(group.baseline_key(column))
    return None if after is None or before is None else float(after - before)


def words(place: Path) -> str | None:
    """Return the description that led to an image's result, from its record."""
    try:
        record = json.loads((place / "record.json").read_text(encoding="utf-8"))
        best = next(own for own in record["attempts"] if own["iteration"] == record["best_iteration"])
        found = Description.from_row(best)
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    return f"{found.object}: {', '.join(found.foreground)} → {', '.join(found.background)}"
