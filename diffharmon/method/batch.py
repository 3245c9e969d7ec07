"""Several composites harmonized together: in lockstep where the method can, else one after the other."""

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from diffharmon.lockstep.conductor import run_together
from diffharmon.lockstep.lanes import Lane, current_lane
from diffharmon.protocols import Method
from diffharmon.types import Composite, Observer, Outcome

Outcomes = list[Outcome | Exception]  # one for each composite; an exception takes the place of what it prevented

log = logging.getLogger(__name__)


def batches(method: Any) -> bool:
    """Whether a method can harmonize several composites together."""
    return hasattr(method, "harmonize_batch")


def harmonize_all(method: Any, composites: Sequence[Composite], observers: Sequence[Observer]) -> Outcomes:
    """Harmonize composites together where the method can, else one after the other.

    Args:
        method: A method; one that knows batches has ``harmonize_batch`` with the same arguments.
        composites: What to harmonize, without ground truth.
        observers: What follows each.

    Returns:
        For each composite its outcome, or the exception that prevented it.
    """
    if batches(method):
        try:
            outcomes = method.harmonize_batch(composites, observers)
            if len(outcomes) == len(composites):
                return outcomes
            log.warning("%d outcomes for %d images: one at a time instead", len(outcomes), len(composites))
        except Exception as error:
            log.warning("%d images cannot be harmonized together: %s; one at a time instead", len(composites), error)
    return one_by_one(method, composites, observers)


def one_by_one(method: Method, composites: Sequence[Composite], observers: Sequence[Observer]) -> Outcomes:
    """Harmonize composites one after the other; an exception takes the place of the outcome that it prevented."""
    found: Outcomes = []
    for composite, observe in zip(composites, observers, strict=True):
        try:
            found.append(method.harmonize(composite, observe))
        except Exception as error:
            found.append(error)
    return found


def in_lockstep(method: Any, composites: Sequence[Composite], observers: Sequence[Observer]) -> Outcomes:
    """Harmonize composites side by side by a method with a backbone, whose calls they then share.

    A backbone that knows no lanes harmonizes them one after the other.

    Args:
        method: A method that calls its network by ``self.backbone`` alone.
        composites: What to harmonize.
        observers: What follows each.
    """
    in_lane = getattr(method.backbone, "in_lane", None)
    if in_lane is None:
        return one_by_one(method, composites, observers)

    def harmonize(composite: Composite, observe: Observer) -> Outcome:
        lane = current_lane()
        return on(method, in_lane(lane)).harmonize(composite, lane.follow(observe) if lane else observe)

    return side_by_side(harmonize, composites, observers, method.backbone.device)


def side_by_side(
    harmonize: Callable[[Composite, Observer], Outcome],
    composites: Sequence[Composite],
    observers: Sequence[Observer],
    device: torch.device | None = None,
) -> Outcomes:
    """Harmonize composites in lanes; what asks for calls there shares them.

    Args:
        harmonize: Harmonizes one.
        composites: What to harmonize.
        observers: What follows each.
        device: Where the calls are made; None takes that of the composites.
    """

    def work(composite: Composite, observe: Observer) -> Callable[[Lane], Outcome]:
        return lambda lane: harmonize(composite, observe)

    works = [work(composite, observe) for composite, observe in zip(composites, observers, strict=True)]
    return run_together(works, device or composites[0].image.device)


def on(method: Any, backbone: Any) -> Any:
    """Return the method with another backbone, sharing everything else with it."""
    view = copy.copy(method)
    view.__dict__["_modules"] = {name: part for name, part in method._modules.items() if name != "backbone"}
    view.__dict__["backbone"] = backbone  # no module: a view of one
    return view
