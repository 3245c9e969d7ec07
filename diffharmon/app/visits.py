"""Visitors' folders: what is in one is known to its visitor alone.

All that is kept of a visit lies in its folder, so that nothing is shared in memory: results, each in a folder of its
number, and in the folder of a run a file that asks it to stop.
"""

import hmac
import re
import secrets
import shutil
import time
from contextlib import suppress
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
        """Make the folder of a new result and remove the oldest results."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.results()[self.most - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
        made = self.folder / f"{max((int(path.name) for path in self.folder.iterdir()), default=-1) + 1:04d}"
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
        """Ask every run that this visitor has begun to stop, and none that begins later.

        A run ends at its next step, when the next one may have begun long ago; so each has a wish of its own.
        """
        for run in self.folder.glob("[0-9]*"):
            with suppress(FileNotFoundError):  # it ends just now
                (run / _STOP).touch()

    def clear(self) -> None:
        """Remove all results of this visitor; a run stops and removes its folder, whose number is taken till then."""
        self.stop()
        for result in self.results():
            shutil.rmtree(result, ignore_errors=True)


def stopped(run: Path) -> bool:
    """Whether the visitor asked the run of this folder to stop, or left."""
    return not run.is_dir() or (run / _STOP).exists()


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
