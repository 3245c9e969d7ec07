"""Progress: one bar for the run with the stages of the image inside, or one line an image without a terminal."""

import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from diffharmon.types import Event

log = logging.getLogger(__name__)

LABELS = {
    "inversion": "inversion",
    "text": "text refinement",
    "unconditional": "null-text optimization",
    "edit": "edit",
}


class ProgressBars:
    """An observer that draws on standard error, by default only on a terminal.

    Args:
        shown: None draws on a terminal only; True and False decide.
        inside: Draw below a run's bar and remove each stage's bar when it is done.
    """

    def __init__(self, shown: bool | None = None, inside: bool = False) -> None:
        self.disabled = None if shown is None else not shown
        self.inside = inside
        self.bar: Any = None
        self.stage = ""

    def __call__(self, event: Event) -> None:
        """Move the stage's bar to the event's step; a new stage, or the same one begun again, opens a new bar."""
        if self.bar is None or event.stage != self.stage or event.step + 1 < self.bar.n:
            self.close()
            label = LABELS.get(event.stage, event.stage)
            place = {"position": 1, "leave": False} if self.inside else {"leave": True}
            self.bar = tqdm(total=event.steps, desc=f"{label:>22}", disable=self.disabled, file=sys.stderr, **place)
            self.stage = event.stage
        self.bar.update(event.step + 1 - self.bar.n)
        if "loss" in event.values:
            self.bar.set_postfix(loss=f"{float(event.values['loss']):.4f}", refresh=False)

    def close(self) -> None:
        """Finish the bar that is open."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None


class RunProgress:
    """The images of a run: done of all, the one at hand, the mean gain so far and the time left.

    Args:
        total: Images that this process has to do.
        describe: One line about a finished row; logged for each image where there is no terminal.
        gain: What a row gained over its untouched composite; None where that is not known.
        shown: None draws on a terminal only; True and False decide.
    """

    def __init__(
        self,
        total: int,
        describe: Callable[[Mapping[str, Any]], str],
        gain: Callable[[Mapping[str, Any]], float | None] = lambda row: None,
        shown: bool | None = None,
    ) -> None:
        self.total, self.describe, self.gain = total, describe, gain
        self.shown = sys.stderr.isatty() if shown is None else shown
        self.count, self.gains, self.failed = 0, [], 0  # type: int, list[float], int
        self.bar: Any = None

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw inside the ``with``; log lines go above the bar."""
        if not self.shown:
            yield
            return
        with logging_redirect_tqdm(), tqdm(total=self.total, desc="images", unit="image", file=sys.stderr) as self.bar:
            yield

    def begin(self, name: str) -> ProgressBars:
        """Show the image at hand; returns the bars of its stages."""
        if self.bar is not None:
            self.bar.set_description(name[-40:])
        return ProgressBars(self.shown, inside=True)

    def finish(self, row: Mapping[str, Any]) -> None:
        """Count one image, by its row."""
        self.count += 1
        failed = row.get("status") != "ok"
        self.failed += failed
        gained = None if failed else self.gain(row)
        if gained is not None and math.isfinite(gained):
            self.gains.append(gained)
        if self.bar is None:
            text = f"{row['name']}: failed: {row.get('error', '')}" if failed else self.describe(row)
            log.info("%d/%d %s", self.count, self.total, text)
            return
        notes = [f"gain {math.fsum(self.gains) / len(self.gains):+.2f} dB"] if self.gains else []
        self.bar.set_postfix_str(", ".join([*notes, *([f"{self.failed} failed"] if self.failed else [])]))
        self.bar.update()
