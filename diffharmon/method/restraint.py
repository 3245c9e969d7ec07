"""What becomes of a result that the evaluator does not trust: it stays near the composite, or gives way to it."""

from collections.abc import Sequence
from dataclasses import replace

from diffharmon.errors import InputError
from diffharmon.images.nearness import kept_within
from diffharmon.method.canvas import Canvas
from diffharmon.method.policy import HELD_BACK, Policy, Stop
from diffharmon.types import Attempt, Score


def restrain(
    attempts: Sequence[Attempt], stop: Stop, policy: Policy, canvas: Canvas
) -> tuple[tuple[Attempt, ...], Stop]:
    """Hold the result back where its score is not enough above the composite's.

    A score is a probability here. What moves it little was changed for little reason, whichever side of the threshold
    it is on; see experiments/reader.

    Args:
        attempts: All attempts in order; the first is the untouched composite.
        stop: Which of them is the result.
        policy: Its ``min_odds_gain`` and ``untrusted_psnr``.
        canvas: What the result was made from, and the evaluator.

    Returns:
        The attempts, the result among them held back if it has to be, and which is the result now.

    Raises:
        InputError: A score is no probability between 0 and 1.
    """
    best = attempts[stop.best]
    if policy.min_odds_gain is None or best.iteration < 0:
        return tuple(attempts), stop
    if odds(best.score) >= policy.min_odds_gain * odds(attempts[0].score):
        return tuple(attempts), stop
    reason = f"as the change raises the odds of the score less than {policy.min_odds_gain:g} times"
    if policy.untrusted_psnr is None:
        return tuple(attempts), Stop(0, f"{HELD_BACK} altogether, {reason}")
    image, strength = kept_within(canvas.target.image, best.image, policy.untrusted_psnr)
    if strength < 1:
        score = canvas.evaluator.score(image, canvas.target.mask, best.description)
        best = replace(best, image=image, score=score, strength=strength)
    held = (*attempts[: stop.best], best, *attempts[stop.best + 1 :])
    return held, Stop(stop.best, f"{HELD_BACK} within {policy.untrusted_psnr:g} dB of the composite, {reason}")


def odds(score: Score) -> float:
    """Return how much likelier a score says harmony is than its opposite.

    Raises:
        InputError: The score is no probability between 0 and 1.
    """
    if not 0 < score.value < 1:
        raise InputError(
            f"method.policy.min_odds_gain needs a probability, the evaluator's score is {score.value:g}; expected one "
            "between 0 and 1, as evaluator=reader and evaluator=classifier give, or min_odds_gain=null"
        )
    return score.value / (1 - score.value)
