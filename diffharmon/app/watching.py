"""Following the work on a photo: progress for its visitor, and an end when it is unwanted or takes too long."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from diffharmon.errors import DiffharmonError
from diffharmon.types import Event, Watcher

STAGES = {
    "describe": "Reading the light",
    "inversion": "Inverting the photo to noise",
    "structure": "Measuring its structure",
    "text": "Refining the words",
    "unconditional": "Optimizing the empty prompt",
    "edit": "Changing the light",
    "recompose": "Putting the foreground back",
    "evaluate": "Judging the harmony",
}


class Cancelled(DiffharmonError):
    """The visitor asked to stop, or left."""


class TooSlow(DiffharmonError):
    """One photo took longer than the page allows."""


class Follow(Watcher):
    """Reports every stage and step, and ends the work between two steps.

    Args:
        report: Takes steps done, steps in all (0 where that is not known) and the stage in words.
        stopped: Asked at each step whether to stop.
        seconds: Time for the whole photo.
    """

    def __init__(self, report: Callable[[int, int, str], object], stopped: Callable[[], bool], seconds: float) -> None:
        self.report, self.stopped, self.seconds = report, stopped, seconds
        self.end = time.monotonic() + seconds

    def __call__(self, event: Event) -> None:
        """Report a step.

        Raises:
            Cancelled: The visitor wants no result.
            TooSlow: The time is over.
        """
        self.report(event.step + 1, event.steps, STAGES.get(event.stage, event.stage))
        self.check()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Report a stage that begins; it may end the work as a step does."""
        self.report(0, 0, STAGES.get(name, name))
        self.check()
        yield

    def check(self) -> None:
        """End the work where that is due; see ``__call__``."""
        if self.stopped():
            raise Cancelled("stopped")
        if time.monotonic() > self.end:
            raise TooSlow(
                f"this took longer than {self.seconds:g} seconds and was stopped; "
                "fewer variants, a smaller photo or diffharmon-app --seconds help"
            )
