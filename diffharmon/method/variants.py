"""Results to choose from: what the other words gave, and the same change less far and farther."""

from collections.abc import Iterator
from dataclasses import replace

from diffharmon.protocols import Evaluator
from diffharmon.types import Attempt, Composite, Outcome, Variant

_STRENGTHS = (0.5, 1.5, 0.75, 1.25, 0.25, 1.75)


def offer(outcome: Outcome, count: int, composite: Composite, evaluator: Evaluator) -> Outcome:
    """Add up to ``count`` results to choose from; the outcome's own comes first.

    Then comes the best attempt of each other description, then the best harmonized one at other strengths: its
    difference from the composite, scaled. Strengths cost no pass of the model.

    Args:
        outcome: What the method did.
        count: Variants wanted; 1 adds none.
        composite: What was harmonized.
        evaluator: Scores the strengths.
    """
    tried = [attempt for attempt in outcome.attempts if attempt.iteration >= 0]
    if count == 1 or not tried:
        return outcome
    by_score = sorted(tried, key=lambda attempt: attempt.score.value, reverse=True)
    best = outcome.best
    found = [Variant(best.image, best.description, best.score, 1.0 if best.iteration >= 0 else 0.0)]
    described = [best.description] if best.iteration >= 0 else []
    for attempt in by_score:
        if attempt.description not in described:
            described.append(attempt.description)
            found.append(Variant(attempt.image, attempt.description, attempt.score, 1.0))
    found += _strengths(best if best.iteration >= 0 else by_score[0], composite, evaluator)
    return replace(outcome, variants=tuple(found[:count]))


def _strengths(attempt: Attempt, composite: Composite, evaluator: Evaluator) -> Iterator[Variant]:
    """Scale the difference that an attempt made; nothing where it made none."""
    change = attempt.image - composite.image.to(attempt.image)
    if not change.any():
        return
    for strength in _STRENGTHS:
        image = (composite.image.to(change) + strength * change).clamp(0, 1)
        score = evaluator.score(image, composite.mask, attempt.description)
        yield Variant(image, attempt.description, score, strength)
