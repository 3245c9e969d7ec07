"""Finite or refused: numbers that overflowed never pass as a result.

A network in half precision overflows without an error, and everything computed from its output is then not a number: a
black foreground with a score. The checks stand where values pass from one stage to the next.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffharmon.errors import DiffharmonError
from diffharmon.types import Event, Observer, Outcome, Watcher
from diffharmon.types.levels import Levels

OPTIMIZED = ("text", "null", "unconditional")


class NotFinite(DiffharmonError, ArithmeticError):
    """A stage produced values that are not finite; the message names the stage and what helps."""


@dataclass(frozen=True)
class FiniteGuard:
    """Checks the values that pass between the stages of one image.

    Attributes:
        dtype: Precision that the diffusion network runs in; decides which advice the error gives.
    """

    dtype: torch.dtype = torch.float32

    def require(self, stage: str, value: Tensor) -> Tensor:
        """Return ``value``; raises ``NotFinite`` naming the stage when any of it is not finite."""
        if not finite(value):
            bad = int((~value.isfinite()).sum())
            raise NotFinite(f"{stage}: {bad} of {value.numel()} values are not finite; {self.advice(stage)}")
        return value

    def watch(self, observe: Observer) -> "CheckedEvents":
        """Return a watcher that checks every event's values, then passes the event on."""
        return CheckedEvents(self, observe)

    def advice(self, stage: str) -> str:
        """Return what helps against an overflow at this stage and precision."""
        if self.dtype == torch.float16:
            return "float16 overflows above 65504: try backbone.dtype=bfloat16 or backbone.dtype=float32"
        if self.dtype == torch.bfloat16:
            return "try backbone.dtype=float32"
        if stage.startswith(OPTIMIZED):
            return "the optimization diverged: try a lower learning_rate in `embedding`"
        return "the network already runs in float32: the model's weights are damaged or do not fit its configuration"


class CheckedEvents(Watcher):
    """Checks every event's values, then passes the event on.

    All latents, losses, gradients and embeddings of the sampling loops and optimizers go through their observer, so
    this one check covers them at the step where they break.

    Args:
        guard: What checks them.
        observe: Receives the events; a watcher also surrounds the stages.
    """

    def __init__(self, guard: FiniteGuard, observe: Observer) -> None:
        self.guard, self.observe = guard, observe

    def __call__(self, event: Event) -> None:
        """Check an event and pass it on."""
        values = {name: torch.as_tensor(value) for name, value in event.values.items()}
        if values:
            device = max((value.device for value in values.values()), key=lambda device: device.type != "cpu")
            # One transfer from the device for all of them.
            if not torch.stack([value.isfinite().all().to(device) for value in values.values()]).all():
                for name, value in values.items():
                    self.guard.require(f"{event.stage}, step {event.step + 1} of {event.steps}, {name}", value)
        self.observe(event)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Surround one stage."""
        return self.observe.stage(name) if isinstance(self.observe, Watcher) else nullcontext()


def finite(values: Tensor) -> Tensor:
    """Tell on the device whether all values are finite, without a copy of them: the extremes say so, NaN included."""
    if isinstance(values, Levels):  # levels always are
        known = torch.tensor(True, device=values.device)
        return torch.stack([known, *(finite(patch.values) for patch in values.patches)]).all()
    return torch.stack(values.aminmax()).isfinite().all() if values.numel() else torch.tensor(True)


def require_finite_outcome(outcome: Outcome) -> None:
    """Check every attempt's image and score, whatever method made them.

    Raises:
        NotFinite: Naming the attempt.
    """
    for attempt in outcome.attempts:
        where = "the composite" if attempt.iteration < 0 else f"iteration {attempt.iteration}"
        if not finite(attempt.image):
            raise NotFinite(f"result of {where}: the image is not finite; try another backbone.dtype, such as float32")
        if not math.isfinite(attempt.score.value):
            raise NotFinite(f"evaluate: the score of {where} is {attempt.score.value}, expected a finite number")


def require_numbers(row: Mapping[str, Any]) -> None:
    """Check what was measured; an infinite PSNR is legitimate (no error at all), NaN never is.

    Raises:
        NotFinite: Naming the metrics.
    """
    bad = [name for name, value in row.items() if isinstance(value, float) and math.isnan(value)]
    if bad:
        raise NotFinite(f"measure: {', '.join(bad)} is not a number")
