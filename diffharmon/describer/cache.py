"""Descriptions on disk, each made once: keyed by image content, mask, model, prompt version and attempt number."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from diffharmon.files import write_text
from diffharmon.images import to_uint8
from diffharmon.types import Composite, Description

_log = logging.getLogger(__name__)


def key(composite: Composite, model: str, version: str, attempt: int) -> str:
    """Hash what a description depends on.

    Args:
        composite: Its 8-bit image and mask count, its name does not.
        model: The language model.
        version: The prompt's version.
        attempt: How many descriptions were tried before; so a second description has its own place.
    """
    digest = hashlib.sha256()
    for tensor in (composite.image, composite.mask):
        levels = to_uint8(tensor).cpu().contiguous()
        digest.update(repr(tuple(levels.shape)).encode())
        digest.update(levels.numpy().tobytes())
    digest.update(json.dumps([model, version, attempt]).encode())
    return digest.hexdigest()


class Cache:
    """A folder with one JSON file for each description; safe for many threads and processes.

    Args:
        folder: Made when the first description is stored.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()

    def get_or_make(self, key: str, make: Callable[[], Description]) -> Description:
        """Return the stored description, or make and store it; concurrent callers of one key make it once."""
        path = self.folder / f"{key}.json"
        stored = _read(path)
        if stored is not None:
            return stored
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{key[:3]}.lock"):
            stored = _read(path)
            if stored is not None:
                return stored
            description = make()
            write_text(path, json.dumps(description.row(), ensure_ascii=False) + "\n")
            return description


def _read(path: Path) -> Description | None:
    try:
        return Description.from_row(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s holds no description (%r) and is replaced", path, error)
        return None
