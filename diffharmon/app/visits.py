"""Visitors' folders: what is in one is known to its visitor alone.

All that is kept of a visit lies in its folder, so that nothing is shared in memory: results, each in a folder of its
number, and a file that asks running work to stop.
"""

import hmac
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from diffharmon.errors import InputError

RECORD = "record.json"  # written last: a result without it is not finished
_STOP = "stop"
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Visit:
    """One visitor's folder.

    Attributes:
        folder: Where it is; its name cannot be guessed and stands in the visitor's links.
        most: Results that are kept.
    """

    folder: Path
    most: int

    def begin(self) -> Path:
        """Make the folder of a new result, forget an earlier wish to stop, and remove the oldest results."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / _STOP).unlink(missing_ok=True)
        for old in self.results()[self.most - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
        numbers = [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
        made = self.folder / f"{max(numbers, default=-1) + 1:04d}"
        made.mkdir()
        return made

    def results(self) -> list[Path]:
        """List the folders of finished results, newest first."""
        return sorted((path.parent for path in self.folder.glob(f"*/{RECORD}")), reverse=True)

    def result(self, number: int) -> Path:
        """Return the folder of one finished result.

        Raises:
            InputError: There is none of that number, or it is not kept any more.
        """
        folder = self.folder / f"{number:04d}"
        if not (folder / RECORD).is_file():
            raise InputError("this result is not kept any more; harmonize the photo again")
        return folder

    def stop(self) -> None:
        """Ask running work of this visitor to stop."""
        if self.folder.is_dir():
            (self.folder / _STOP).touch()

    @property
    def stopped(self) -> bool:
        """Whether the visitor asked to stop, or left."""
        return not self.folder.is_dir() or (self.folder / _STOP).exists()

    def clear(self) -> None:
        """Remove everything of this visitor; running work stops."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Visits:
    """All visitors of one server.

    Args:
        root: Folder for theirs.
        most: Results kept for each.
    """

    def __init__(self, root: Path, most: int) -> None:
        self.root, self.most = root, most
        self._secret = secrets.token_bytes(32)

    def of(self, session: str | None) -> Visit:
        """Return the visit of a browser session; its folder's name follows from the session by a secret key."""
        name = hmac.new(self._secret, str(session).encode(), "sha256").hexdigest()[:32]
        visit = Visit(self.root / name, self.most)
        visit.folder.mkdir(parents=True, exist_ok=True)
        visit.folder.touch()
        return visit

    def named(self, name: str) -> Visit:
        """Return the visit of a link.

        Raises:
            InputError: There is none.
        """
        folder = self.root / name
        if not _NAME.fullmatch(name) or not folder.is_dir():
            raise InputError("this link is not valid any more")
        return Visit(folder, self.most)

    def sweep(self, hours: float) -> None:
        """Remove the folders that were not used for so long."""
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            if folder.stat().st_mtime < time.time() - 3600 * hours:
                shutil.rmtree(folder, ignore_errors=True)
