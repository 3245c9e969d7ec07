"""Condition words with weights, as they are written: ``bright`` counts fully, ``bright:0.6`` less."""

from collections.abc import Sequence

LARGEST_WEIGHT = 2.0


def read_word(text: str) -> tuple[str, float]:
    """Split a word as it is written into the word and its weight.

    Raises:
        ValueError: when the weight is no number from 0 (not included) to 2, or there is no word.
    """
    word, colon, number = text.rpartition(":")
    if not colon:
        return text, 1.0
    try:
        weight = float(number)
    except ValueError:
        weight = -1.0
    if not word or not 0 < weight <= LARGEST_WEIGHT:
        raise ValueError(f"{text!r} is no weighted word; expected a word, a colon and a weight above 0 and up to 2")
    return word, weight


def write_words(words: Sequence[str], weights: Sequence[float]) -> list[str]:
    """Write words as `read_word` reads them; weights of 1 are left out, and none at all stand for 1."""
    weights = weights or [1.0] * len(words)
    return [word if weight == 1 else f"{word}:{weight:g}" for word, weight in zip(words, weights, strict=True)]


def read_words(texts: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Read words as they are written; a repeated word is kept once, and weights that are all 1 are left out.

    Raises:
        ValueError: when a weight cannot be read.
    """
    pairs: dict[str, float] = {}
    for text in texts:
        word, weight = read_word(str(text))
        pairs.setdefault(word, weight)
    weights = tuple(pairs.values())
    return tuple(pairs), () if all(weight == 1 for weight in weights) else weights
