"""Programs of other people, run on files: checked before they start, killed when they take too long."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import ConfigError, InputError, ModelError
from diffharmon.types import Composite

OUTPUT = "{output}"


class Program:
    """A command whose places in braces become file names or texts.

    Args:
        command: Program and arguments, started without a shell.
        places: The places that the command has to have.
        timeout: Seconds after which the program is killed.
        key: The setting that holds the command, for messages.

    Raises:
        ConfigError: The command lacks a place, or is no list of words.
        ModelError: There is no such program.
    """

    def __init__(self, command: Sequence[str], places: Sequence[str], timeout: float, key: str) -> None:
        if isinstance(command, str) or not command or not all(isinstance(word, str) for word in command):
            raise ConfigError(f"command: got {command!r}, expected a list of words such as [python, x.py, ...]")
        missing = [place for place in places if not any(place in word for word in command)]
        if missing:
            raise ConfigError(f"command: {list(command)} lacks {' and '.join(missing)}")
        if shutil.which(command[0]) is None:
            raise ModelError(f"{key}: there is no program {command[0]!r}")
        self.command = tuple(command)
        self.timeout = timeout
        self.key = key

    def asks_for(self, place: str) -> bool:
        """Return whether a place occurs in the command."""
        return any(place in word for word in self.command)

    def run(self, composite: Composite, texts: Mapping[str, str] | None = None) -> Float[Tensor, "3 v u"]:
        """Run the program on the composite and its mask as PNG files, and read the image that it writes.

        Args:
            composite: Written to ``{image}`` and ``{mask}``, in a folder of its own.
            texts: What further places become.

        Raises:
            ModelError: It fails, takes too long or leaves no image.
        """
        with tempfile.TemporaryDirectory(prefix="diffharmon-") as folder:
            files = {place: str(Path(folder) / f"{place.strip('{}')}.png") for place in ("{image}", "{mask}", OUTPUT)}
            images.write_image(files["{image}"], composite.image)
            images.write_image(files["{mask}"], composite.mask)
            words = [_filled(word, files | dict(texts or {})) for word in self.command]
            self._finish(words)
            try:
                return images.read_image(files[OUTPUT]).image
            except InputError as error:
                raise ModelError(f"{self.key} {words[0]!r} ended well but left no image: {error}") from error

    def _finish(self, words: Sequence[str]) -> None:
        """Run the program to its end; after ``timeout`` seconds it and what it started are killed."""
        try:
            process = subprocess.Popen(
                words,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise ModelError(f"{self.key}: {words[0]!r} cannot be started: {error}") from error
        try:
            _, complaint = process.communicate(timeout=self.timeout)
        except subprocess.TimeoutExpired as error:
            took = f"took longer than {self.timeout:g} s and was killed"
            raise ModelError(f"{self.key} {words[0]!r} {took}") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode != 0:
            output = " | ".join(complaint.strip().splitlines()[-3:]) or "nothing"
            raise ModelError(f"{self.key} {words[0]!r} ended with code {process.returncode}; its last lines: {output}")


def _filled(word: str, values: Mapping[str, str]) -> str:
    """Fill all places in one pass: a text may hold braces of its own."""
    return re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], word)
