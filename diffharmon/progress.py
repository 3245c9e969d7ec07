"""Progress bars: one for each stage of an image, with the loss where a stage has one."""

import sys
from typing import Any

from tqdm import tqdm

from diffharmon.types import Event

LABELS = {
    "inversion": "inversion",
    "text": "text refinement",
    "null": "null-text optimization",
    "edit": "edit",
}


class ProgressBars:
    """An observer that draws on standard error, and only on a terminal.

    Args:
        shown: None draws on a terminal only; True and False decide.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self.disabled = None if shown is None else not shown
        self.bar: Any = None
        self.stage = ""

    def __call__(self, event: Event) -> None:
        """Move the stage's bar to the event's step; a new stage, or the same one begun again, opens a new bar."""
        if self.bar is None or event.stage != self.stage or event.step + 1 < self.bar.n:
            self.close()
            label = LABELS.get(event.stage, event.stage)
            self.bar = tqdm(total=event.steps, desc=f"{label:>22}", disable=self.disabled, file=sys.stderr, leave=True)
            self.stage = event.stage
        self.bar.update(event.step + 1 - self.bar.n)
        if "loss" in event.values:
            self.bar.set_postfix(loss=f"{float(event.values['loss']):.4f}", refresh=False)

    def close(self) -> None:
        """Finish the bar that is open."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None
