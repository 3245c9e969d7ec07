"""What the loop does next: a pure function of the scores so far (paper section 3.3)."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from diffharmon.errors import InputError

LEFT_ALONE = "the composite's score is at least"


@dataclass(frozen=True)
class Trial:
    """What the policy sees of an attempt.

    Attributes:
        iteration: Counts from 0; -1 is the untouched composite.
        description: Number of the description in order of appearance; -1 for the untouched composite.
        score: A higher one is better.
    """

    iteration: int
    description: int
    score: float


@dataclass(frozen=True)
class Again:
    """Run again from the image of trial ``start`` with description ``description``."""

    start: int
    description: int


@dataclass(frozen=True)
class Redescribe:
    """Go back to the image of trial ``start`` and use another description: a known one, or None for a new one."""

    start: int
    description: int | None


@dataclass(frozen=True)
class Stop:
    """Stop; the trial ``best`` wins."""

    best: int
    reason: str


Move = Again | Redescribe | Stop


@dataclass(frozen=True)
class Policy:
    """How long to go on and what to do when scores fall.

    Args:
        iterations: Most iterations; each but the first is one pass of the method. The first tries every description.
        patience: How many strict drops of the score in a row count as a fall.
        restarts: How many falls are answered by a switch to another description; the next one stops the loop.
        redescribe: Where the other description comes from: ``known`` picks one of those tried first, as the reference
            code does, ``new`` asks the describer, as the paper does.
        include_composite: The untouched composite may win, so that the result is never judged worse than the input.
            The reference code leaves it out.
        skip_above: An untouched composite whose score is at least this is left alone; None always tries.
        ties: Which of several best trials wins: the ``first``, or the ``last`` (for images that nobody judges).

    Raises:
        InputError: If a number is too small or a word unknown.
    """

    iterations: int = 10
    patience: int = 2
    restarts: int = 1
    redescribe: Literal["known", "new"] = "known"
    include_composite: bool = True
    skip_above: float | None = None
    ties: Literal["first", "last"] = "first"

    def __post_init__(self) -> None:
        for name, least in (("iterations", 1), ("patience", 1), ("restarts", 0)):
            if getattr(self, name) < least:
                raise InputError(f"policy.{name} is {getattr(self, name)}, expected at least {least}")
        for name, words in (("redescribe", ("known", "new")), ("ties", ("first", "last"))):
            if getattr(self, name) not in words:
                raise InputError(f"policy.{name} is {getattr(self, name)!r}, expected one of {words}")


def decide(history: Sequence[Trial], known: int, policy: Policy, choose: Callable[[Sequence[int]], int]) -> Move:
    """Decide on the next pass over an image.

    A composite that is good enough is left alone.

    The first iteration runs every known description on the composite, and the best one goes on. Then each iteration
    starts from the former's result. When the score has fallen ``patience`` times in a row under one description, the
    loop returns to the image before the fall and switches description; after ``restarts`` switches it stops.

    Args:
        history: All trials in order; the first is the untouched composite.
        known: How many descriptions there are so far.
        policy: The rules.
        choose: Picks one of several description numbers, such as ``random.Random(seed).choice``.

    Raises:
        InputError: If the history does not start with the composite, or a score is not a finite number.
    """
    _check(history, known)
    if policy.skip_above is not None and history[0].score >= policy.skip_above:
        return Stop(0, f"{LEFT_ALONE} {policy.skip_above:g}")
    first = [index for index, trial in enumerate(history) if trial.iteration == 0]
    if history[-1].iteration <= 0 and len(first) < known:
        return Again(start=0, description=len(first))
    chain = [_best(history, first, "first"), *range(first[-1] + 1, len(history))]
    start, trial = chain[-1], history[chain[-1]]
    best = _best(history, range(0 if policy.include_composite else 1, len(history)), policy.ties)
    if trial.iteration + 1 >= policy.iterations:
        return Stop(best, f"all {policy.iterations} iterations done")
    switches, run = _runs(history, chain)
    if not _fell(history, run, policy.patience):
        return Again(start, trial.description)
    fall = f"the score fell {policy.patience} times in a row"
    if switches >= policy.restarts:
        return Stop(best, f"{fall} after {switches} of {policy.restarts} switches of description")
    back = run[-1 - policy.patience]
    if policy.redescribe == "new":
        return Redescribe(back, None)
    others = [number for number in range(known) if number != trial.description]
    if not others:
        return Stop(best, f"{fall} and there is no other description")
    return Redescribe(back, choose(others))


def _check(history: Sequence[Trial], known: int) -> None:
    if not history or history[0].iteration != -1 or any(trial.iteration < 0 for trial in history[1:]):
        raise InputError("the history given to the policy must begin with the untouched composite, and only that")
    if known < 1:
        raise InputError(f"the policy was given {known} descriptions, expected at least one")
    for trial in history:
        if not math.isfinite(trial.score):
            raise InputError(f"the score of iteration {trial.iteration} is {trial.score}, expected a finite number")


def _best(history: Sequence[Trial], among: Sequence[int], ties: str) -> int:
    """Return the index of the highest score."""
    order = among if ties == "first" else among[::-1]
    return max(order, key=lambda index: history[index].score)


def _runs(history: Sequence[Trial], chain: Sequence[int]) -> tuple[int, list[int]]:
    """Count the switches of description along the chain of results and return the part since the last one."""
    switches, run = 0, [chain[0]]
    for before, after in itertools.pairwise(chain):
        if history[before].description != history[after].description:
            switches, run = switches + 1, []
        run.append(after)
    return switches, run


def _fell(history: Sequence[Trial], run: Sequence[int], patience: int) -> bool:
    scores = [history[index].score for index in run[-1 - patience :]]
    return len(scores) > patience and all(after < before for before, after in itertools.pairwise(scores))
