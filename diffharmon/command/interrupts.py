"""SIGINT and SIGTERM: a run stops after the image at hand and reports how to go on.

Before the first image there is nothing to finish, so a signal ends the command at once. While images are harmonized
the signal is noted, the image at hand is finished and written, and no other is begun; a second Ctrl-C stops at once.
"""

import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal ended the command; not an ``Exception``, so that no image's and no job's error handling takes it.

    Attributes:
        signal: The signal's number; the command exits with 128 plus it.
    """

    def __init__(self, number: int, message: str = "") -> None:
        self.signal = signal.Signals(number)
        super().__init__(message or f"stopped by {self.signal.name}")

    @property
    def exit_code(self) -> int:
        """The shell's code for a command that this signal ended."""
        return 128 + self.signal


class StopRequest:
    """Whether a signal requested a stop; one object for one run, handed to whatever begins an image.

    The one place of the package that changes while a run is under way: a signal handler has nothing to return.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.processes: Sequence[subprocess.Popen] = ()

    def __bool__(self) -> bool:
        """Return whether a stop was requested."""
        return self.signal is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal and pass it on to the processes of a distributed run; a second SIGINT stops at once."""
        if self.signal is not None:
            if number == signal.SIGINT:
                raise Interrupted(number)
            return
        self.signal = number
        log.warning("%s: stopping after the image at hand; Ctrl-C stops at once", signal.Signals(number).name)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def install(self) -> None:
        """Make this the handler of both signals; again after a library has put its own handlers on top."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self.handle)


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """Handle a signal while no image is under way.

    Raises:
        Interrupted: Always.
    """
    raise Interrupted(number)


@contextmanager
def handlers(handle: Callable[[int, FrameType | None], Any] = stop_at_once) -> Iterator[None]:
    """Handle SIGINT and SIGTERM inside the ``with`` and put the former handlers back after it.

    Only the main thread can handle signals; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            # None: the former handler was not installed from Python and cannot be put back from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
