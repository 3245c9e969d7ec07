"""The package's own files, files that appear complete or not at all, and one message when a model cannot be loaded."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffharmon.errors import ModelError

ASSETS = Path(__file__).resolve().parent / "assets"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; on success it replaces ``path``, else it is removed.

    Missing folders are made. Threads and processes that write the same path do not disturb each other: the last wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, complete or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def copy_file(source: Path, path: Path) -> None:
    """Copy a file, complete or not at all."""
    with replacing(path) as partial:
        shutil.copyfile(source, partial)


@contextmanager
def loading(what: str, given: str, help: str) -> Iterator[None]:
    """Turn what libraries raise while a model loads into one message: what was tried, why it failed, how to get it.

    Args:
        what: What the model is for.
        given: Folder or hub id that was asked for.
        help: How to get it, and what works without it.

    Raises:
        ModelError: Anything inside the ``with`` failed.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # what loading raises for missing, unreachable or damaged files is not one kind
        kind = "local folder" if Path(given).is_dir() else "local folder (there is none) and as a hub id"
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines)[:300] or type(error).__name__
        raise ModelError(f"cannot load the {what} {given!r}, tried as a {kind}: {reason}\n{help}") from error
