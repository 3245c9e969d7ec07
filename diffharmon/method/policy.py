"""What the loop does next: a pure function of the scores so far (paper section 3.3)."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from diffharmon.errors import InputError
from diffharmon.types import Attempt, Description

LEFT_ALONE = "the composite's score is at least"
UNCONVINCING = "left as it is, as the change raises the odds of its score less than"


@dataclass(frozen=True)
class Next:
    """Run the method again.

    Attributes:
        start: Index of the attempt whose image it starts from.
        description: The words to follow; None asks the describer for new ones.
        iteration: Number of the iteration, from 0.
    """

    start: int
    description: Description | None
    iteration: int


@dataclass(frozen=True)
class Stop:
    """Stop; the attempt with index ``best`` is the result."""

    best: int
    reason: str


@dataclass(frozen=True)
class Policy:
    """How long to go on and what to do when scores fall.

    Args:
        iterations: Maximum number of iterations; each but the first is one pass of the method. The first tries every
            description.
        patience: How many strict drops of the score in a row count as a fall.
        restarts: How many falls are answered by a switch to another description; the next one stops the loop.
        redescribe: Where the other description comes from: ``known`` picks one of those tried first, as the public
            code does, ``new`` asks the describer, as the paper does.
        include_composite: The untouched composite may win, so that the result is never scored below the input.
            The public code leaves it out.
        skip_above: An untouched composite with at least this score is left alone; None never skips.
        min_odds_gain: The composite stays as it is unless the result's score, a probability, has at least this many
            times its odds; None takes the result.
        ties: Which of several best attempts wins: the ``first``, or the ``last`` (for images without an evaluator).
    """

    iterations: Annotated[int, Ge(1)] = 10
    patience: Annotated[int, Ge(1)] = 2
    restarts: Annotated[int, Ge(0)] = 1
    redescribe: Literal["known", "new"] = "known"
    include_composite: bool = True
    skip_above: float | None = None
    min_odds_gain: Annotated[float, Gt(0)] | None = None
    ties: Literal["first", "last"] = "first"


def decide(
    attempts: Sequence[Attempt],
    descriptions: Sequence[Description],
    policy: Policy,
    choose: Callable[[Sequence[Description]], Description],
) -> Next | Stop:
    """Decide on the next pass over an image.

    A composite that scores high enough is left alone.

    The first iteration runs every description on the composite, and the best one goes on. Then each iteration starts
    from the result of the one before. When the score has fallen ``patience`` times in a row under one description, the
    loop returns to the image before the fall and switches description; after ``restarts`` switches it stops.

    Args:
        attempts: All attempts in order; the first is the untouched composite.
        descriptions: All descriptions so far, in order.
        policy: The rules.
        choose: Picks one of several descriptions, such as ``random.Random(seed).choice``.

    Raises:
        InputError: If the attempts do not start with the composite, or a score is not a finite number.
    """
    _check(attempts, descriptions)
    if policy.skip_above is not None and attempts[0].score.value >= policy.skip_above:
        return Stop(0, f"{LEFT_ALONE} {policy.skip_above:g}")
    first = [index for index, attempt in enumerate(attempts) if attempt.iteration == 0]
    if attempts[-1].iteration <= 0 and len(first) < len(descriptions):
        return Next(0, descriptions[len(first)], 0)
    chain = [_highest(attempts, first, "first"), *range(first[-1] + 1, len(attempts))]
    last = attempts[chain[-1]]
    following = last.iteration + 1
    if following >= policy.iterations:
        done = f"all {policy.iterations} iterations done" if policy.iterations > 1 else "one iteration done"
        return stop(attempts, policy, done)
    switches, run = _runs(attempts, chain)
    if not _fell(attempts, run, policy.patience):
        return Next(chain[-1], last.description, following)
    return _after_fall(attempts, descriptions, policy, choose, switches, run[-1 - policy.patience])


def _after_fall(
    attempts: Sequence[Attempt],
    descriptions: Sequence[Description],
    policy: Policy,
    choose: Callable[[Sequence[Description]], Description],
    switches: int,
    back: int,
) -> Next | Stop:
    """Return to the attempt ``back`` with another description, or stop where no switch is left."""
    last = attempts[-1]
    fall = f"the score fell {policy.patience} times in a row"
    if switches >= policy.restarts:
        reason = f"{fall} after {switches} of {policy.restarts} switches of description"
        return stop(attempts, policy, reason)
    if policy.redescribe == "new":
        return Next(back, None, last.iteration + 1)
    others = [description for description in descriptions if description != last.description]
    if not others:
        return stop(attempts, policy, f"{fall} and there is no other description")
    return Next(back, choose(others), last.iteration + 1)


def best_attempt(attempts: Sequence[Attempt], policy: Policy) -> int:
    """Return the index of the attempt that wins if the loop stops now."""
    return _highest(attempts, range(0 if policy.include_composite else 1, len(attempts)), policy.ties)


def stop(attempts: Sequence[Attempt], policy: Policy, reason: str) -> Stop:
    """Stop with the attempt that wins, for this reason; or with the composite, where that one convinces too little.

    Raises:
        InputError: The policy compares odds, and a score is no probability between 0 and 1.
    """
    best = best_attempt(attempts, policy)
    if policy.min_odds_gain is None or best == 0 or _odds(attempts[best]) >= policy.min_odds_gain * _odds(attempts[0]):
        return Stop(best, reason)
    return Stop(0, f"{UNCONVINCING} {policy.min_odds_gain:g} times")


def _odds(attempt: Attempt) -> float:
    value = attempt.score.value
    if not 0 < value < 1:
        raise InputError(
            f"method.policy.min_odds_gain needs a probability, the evaluator's score is {value:g}; expected one above "
            "0 and below 1, as evaluator=reader and evaluator=classifier give, or min_odds_gain=null"
        )
    return value / (1 - value)


def _check(attempts: Sequence[Attempt], descriptions: Sequence[Description]) -> None:
    if not attempts or attempts[0].iteration != -1 or any(attempt.iteration < 0 for attempt in attempts[1:]):
        raise InputError("the attempts given to the policy must begin with the untouched composite, and only that")
    if not descriptions:
        raise InputError("the policy was given 0 descriptions, expected at least one")
    for attempt in attempts:
        if not math.isfinite(attempt.score.value):
            score = attempt.score.value
            raise InputError(f"the score of iteration {attempt.iteration} is {score}, expected a finite number")


def _highest(attempts: Sequence[Attempt], among: Sequence[int], ties: str) -> int:
    """Return the index of the highest score."""
    order = among if ties == "first" else among[::-1]
    return max(order, key=lambda index: attempts[index].score.value)


def _runs(attempts: Sequence[Attempt], chain: Sequence[int]) -> tuple[int, list[int]]:
    """Count the switches of description along the chain of results and return the part since the last one."""
    switches, run = 0, [chain[0]]
    for before, after in itertools.pairwise(chain):
        if attempts[before].description != attempts[after].description:
            switches, run = switches + 1, []
        run.append(after)
    return switches, run


def _fell(attempts: Sequence[Attempt], run: Sequence[int], patience: int) -> bool:
    scores = [attempts[index].score.value for index in run[-1 - patience :]]
    return len(scores) > patience and all(after < before for before, after in itertools.pairwise(scores))
