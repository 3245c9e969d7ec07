"""What condition words do to light, as numbers: grey and coloured cards finished under them."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition import grades

CARDS: tuple[tuple[float, float, float], ...] = (
    *((level, level, level) for level in (0.08, 0.2, 0.35, 0.5, 0.7, 0.9)),
    (0.6, 0.35, 0.3),
    (0.35, 0.5, 0.3),
    (0.3, 0.4, 0.6),
    (0.7, 0.6, 0.3),
)
_RIDGE = 0.03

Weighted = Sequence[str] | Mapping[str, float]
"""Condition words, with a weight each or of weight 1."""


def cards_under(choices: Sequence[Weighted]) -> Float[Tensor, "k 30"]:
    """Render the cards under sets of condition words.

    Words go together as in `diffharmon.condition.grades.sample`, without its spread: settings add up, damped by
    n^-0.3, haze by what it lets through.

    Args:
        choices: Sets of words of the vocabulary, possibly weighted; the empty set is neutral light.

    Returns:
        Display values in [0, 1], ten cards of three channels for each set.
    """
    return cards_of(_settings(choices))


def cards_of(settings: Float[Tensor, "k 16"]) -> Float[Tensor, "k 30"]:
    """Render the cards under photo-finishing settings, as `cards_under` does under words."""
    cards = torch.tensor(CARDS, device=settings.device).T[None, :, :, None].expand(len(settings), -1, -1, -1)
    return grades.apply(cards, settings).flatten(1)


def neutral_word() -> str:
    """Name the word that stands for no change of light."""
    return next(word for word, settings in grades.WORD_SETTINGS.items() if not any(_without_air(settings)))


def _without_air(settings: Sequence[float]) -> tuple[float, ...]:
    return (*settings[: grades.AIR.start], *settings[grades.AIR.stop :])


def _settings(choices: Sequence[Weighted]) -> Float[Tensor, "k 16"]:
    known = list(grades.WORD_SETTINGS)
    means = torch.tensor([grades.WORD_SETTINGS[word] for word in known])
    chosen = torch.zeros(len(choices), len(known))
    for row, choice in zip(chosen, choices, strict=True):
        weights = choice if isinstance(choice, Mapping) else dict.fromkeys(choice, 1.0)
        row[[known.index(word) for word in weights]] = torch.tensor(list(weights.values()))
    return grades.mix(means.expand(len(choices), -1, -1), chosen)


def named_change(image: Float[Tensor, "3 h w"], foreground: Weighted, background: Weighted) -> Float[Tensor, "3 h w"]:
    """Estimate what replacing the light of some words by that of others adds to an image taken in the former.

    The cards under the first words are mapped to the cards under the second, see `card_maps`.

    Args:
        image: RGB in [0, 1].
        foreground: Words of the light that the image was taken in, possibly weighted; unknown words do not count.
        background: Words of the light it should be in, likewise.
    """
    sides = [_known(words) for words in (foreground, background)]
    front, back = _settings(sides)
    change = card_maps(front[None], back[None])[0].to(image)
    colours = image.flatten(1).T
    return ((colours + map_features(colours) @ change).clamp(0, 1) - colours).T.view_as(image)


def _known(words: Weighted) -> Weighted:
    if isinstance(words, Mapping):
        return {word: weight for word, weight in words.items() if word in grades.WORD_SETTINGS}
    return [word for word in words if word in grades.WORD_SETTINGS]


def card_maps(front: Float[Tensor, "k 16"], back: Float[Tensor, "k 16"]) -> Float[Tensor, "k 5 3"]:
    """Fit the change of colour from the cards under some settings to the cards under others.

    Ridge regression on `map_features`, drawn towards no change where the cards say little.
    """
    return maps_between(cards_of(front), cards_of(back))


def maps_between(front: Float[Tensor, "k 30"], back: Float[Tensor, "k 30"]) -> Float[Tensor, "k 5 3"]:
    """Fit the change of colour from some cards to others, as `card_maps` does from settings."""
    before, after = (cards.unflatten(1, (3, -1)).mT for cards in (front, back))
    features = map_features(before)
    normal = features.mT @ features + _RIDGE * torch.eye(features.shape[-1])
    return torch.linalg.solve(normal, features.mT @ (after - before))


def map_features(colours: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 5"]:
    """Return colour, squared lightness and a constant, which a card map weighs."""
    return torch.cat([colours, colours.mean(-1, keepdim=True) ** 2, torch.ones_like(colours[..., :1])], -1)
