"""What all describers share about words: reading them from a setting and choosing one description among several."""

from collections.abc import Sequence
from typing import Any

from diffharmon.errors import InputError
from diffharmon.types import Attempt, Description
from diffharmon.types.words import read_words


def split(value: Any, setting: str) -> tuple[str, ...]:
    """Read words from a list or from text with spaces or commas; repeated words are kept once.

    Args:
        value: the words as they stand in a configuration or a file.
        setting: where the words come from, for the message.

    Raises:
        InputError: when ``value`` is neither text nor a list of text.
    """
    if value is None:
        return ()
    parts = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise InputError(f"{setting} must be words, as text or as a list of text; got {value!r}")
    return tuple(dict.fromkeys(word for part in parts for word in part.replace(",", " ").split()))


def weighted(value: Any, setting: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Read words as `split` does, each possibly with a weight: ``bright:0.6``.

    Returns:
        The words, and their weights where one differs from 1.

    Raises:
        InputError: when ``value`` is neither text nor a list of text, or a weight is no number from 0 to 2.
    """
    try:
        return read_words(split(value, setting))
    except ValueError as error:
        raise InputError(f"{setting}: {error}") from None


def require(object: str, foreground: tuple[str, ...], background: tuple[str, ...], where: str) -> None:
    """Check that a description names its object and has words for both sides.

    Raises:
        InputError: naming what is missing and what a whole description looks like.
    """
    missing = [
        name
        for name, value in (("object", object), ("foreground", foreground), ("background", background))
        if not value
    ]
    if missing:
        raise InputError(
            f"prompts without descriptor words: {where} gives no {' and no '.join(missing)}; expected the name of the "
            "foreground object and at least one word for each side, such as object=cat foreground='dim cool' "
            "background='bright warm'"
        )


def same(first: Description, second: Description) -> bool:
    """Return whether two descriptions hold the same words with the same weights, in any order."""
    return (
        first.object == second.object
        and first.foreground_weighted == second.foreground_weighted
        and first.background_weighted == second.background_weighted
    )


def tried(previous: Sequence[Attempt]) -> tuple[Description, ...]:
    """List the different descriptions that stand in ``previous``, in order."""
    seen: list[Description] = []
    for attempt in previous:
        if not any(same(attempt.description, other) for other in seen):
            seen.append(attempt.description)
    return tuple(seen)


def scores(description: Description, previous: Sequence[Attempt]) -> list[float]:
    """Return how a description scored; the untouched composite (iteration -1) does not depend on its words."""
    return [a.score.value for a in previous if a.iteration >= 0 and same(a.description, description)]


def choose(options: Sequence[Description], previous: Sequence[Attempt]) -> Description:
    """Choose the next of several prepared descriptions.

    The first one not tried yet; once all were tried, the least-tried one other than the latest, among equals the one
    that scored best, then the first. (The reference picks a random other one; paper section 3.3.)

    Args:
        options: at least one description.
        previous: what was tried and how it scored.
    """
    before = tried(previous)
    fresh = [option for option in options if not any(same(option, other) for other in before)]
    if fresh:
        return fresh[0]
    others = [option for option in options if not same(option, previous[-1].description)]

    def rank(option: Description) -> tuple[int, float]:
        known = scores(option, previous)
        return len(known), -max(known, default=0.0)

    return min(others or options, key=rank)
