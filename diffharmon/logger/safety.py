"""What a logger writes never leaves the run's folder and never is a formula."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffharmon.errors import ConfigError

# A spreadsheet takes a cell that begins with one of these for a formula, which can run commands.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
RESERVED = ("run.json", "rows", "images", ".")


def plain_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose texts no spreadsheet takes for formulas: such a text gets an apostrophe before it."""
    return {key: f"'{value}" if _is_formula(value) else value for key, value in row.items()}


def _is_formula(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return False
    try:
        float(value)  # A number that was read back from a file.
    except ValueError:
        return True
    return False


def inside(folder: Path, name: str, key: str) -> Path:
    """Return the path of a file or folder directly in the run's folder.

    Raises:
        ConfigError: ``name`` is a path, or belongs to the run's own files; the message has the setting's key.
    """
    if not name or "/" in name or "\\" in name or name.startswith(RESERVED):
        raise ConfigError(
            f"{key}: expected a name inside the run's folder that is not one of its own (run.json, rows..., images), "
            f"got {name!r}"
        )
    return folder / name
