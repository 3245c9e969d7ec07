"""Visitors' folders: what is in one is known to its visitor alone.

All that is kept of a visit lies in its folder, so that nothing is shared in memory: results, each in a folder of its
number, and the moment up to which the visitor wants nothing that was asked for.
"""

import hmac
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from diffharmon.errors import InputError
from diffharmon.files import write_text

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
        """Make the folder of a new result."""
        made = self.folder / f"{max((int(path.name) for path in self.runs()), default=-1) + 1:04d}"
        made.mkdir(parents=True)
        return made

    def runs(self) -> list[Path]:
        """List the folders of all results, finished or not."""
        return list(self.folder.glob("[0-9]*"))

    def results(self) -> list[Path]:
        """List the folders of finished results, newest first."""
        return sorted((path.parent for path in self.folder.glob(f"*/{RECORD}")), reverse=True)

    def trim(self) -> None:
        """Remove the oldest results, beyond those that are kept."""
        for old in self.results()[self.most :]:
            shutil.rmtree(old, ignore_errors=True)

    def result(self, number: int) -> Path:
        """Return the folder of one finished result.

        Raises:
            InputError: There is none of that number, or it is not kept any more.
        """
        folder = self.folder / f"{number:04d}"
        if not (folder / RECORD).is_file():
            raise InputError("this result is not kept any more; harmonize the photo again")
        return folder

    def stop(self, moment: int) -> bool:
        """Stop what was asked for up to a moment, also what still waits for the model; a run ends at its next step.

        Args:
            moment: Milliseconds of the visitor's clock, as ``Asked.pressed``: no other clock knows what came first.

        Returns:
            Whether something runs that has yet to end.
        """
        write_text(self.folder / _STOP, str(moment))
        return any(not (run / RECORD).exists() for run in self.runs())

    def stopped(self, pressed: int) -> bool:
        """Whether what was asked for at this moment of the visitor's clock is wanted no more, or the visitor left."""
        if not self.folder.is_dir():
            return True
        stop = self.folder / _STOP
        return stop.is_file() and pressed <= int(stop.read_text())

    def clear(self, moment: int) -> None:
        """Stop what was asked for up to a moment and remove all results of this visitor."""
        self.stop(moment)
        for result in self.results():
            shutil.rmtree(result, ignore_errors=True)


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
