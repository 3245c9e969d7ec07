"""What condition words do to light, as numbers: grey and coloured cards finished under them."""

from collections.abc import Sequence

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


def cards_under(choices: Sequence[Sequence[str]]) -> Float[Tensor, "k 30"]:
    """Render the cards under sets of condition words.

    Words go together as in `diffharmon.condition.grades.sample`, without its spread: settings add up, damped by
    n^-0.3, haze by what it lets through.

    Args:
        choices: Sets of words of the vocabulary; the empty set is neutral light.

    Returns:
        Display values in [0, 1], ten cards of three channels for each set.
    """
    return cards_of(_settings(choices))


def cards_of(settings: Float[Tensor, "k 16"]) -> Float[Tensor, "k 30"]:
    """Render the cards under photo-finishing settings, as `cards_under` does under words."""
    cards = torch.tensor(CARDS, device=settings.device).T[None, :, :, None].expand(len(settings), -1, -1, -1)
    return grades.apply(cards, settings).flatten(1)


def _settings(choices: Sequence[Sequence[str]]) -> Float[Tensor, "k 16"]:
    known = list(grades.WORD_SETTINGS)
    means = torch.tensor([grades.WORD_SETTINGS[word] for word in known])
    chosen = torch.zeros(len(choices), len(known))
    for row, choice in zip(chosen, choices, strict=True):
        row[[known.index(word) for word in choice]] = 1
    return grades.mix(means.expand(len(choices), -1, -1), chosen)


def named_change(
    image: Float[Tensor, "3 h w"], foreground: Sequence[str], background: Sequence[str]
) -> Float[Tensor, "3 h w"]:
    """Estimate what replacing the light of some words by that of others adds to an image taken in the former.

    The cards under the first words are mapped to the cards under the second by ridge regression on colour, squared
    lightness and a constant, drawn towards no change where the cards say little.

    Args:
        image: RGB in [0, 1].
        foreground: Words of the light that the image was taken in; unknown words do not count.
        background: Words of the light it should be in.
    """
    sides = [[word for word in words if word in grades.WORD_SETTINGS] for words in (foreground, background)]
    before, after = (cards.view(3, -1).T for cards in cards_under(sides))
    features = _features(before)
    normal = features.T @ features + _RIDGE * torch.eye(features.shape[1])
    change = torch.linalg.solve(normal, features.T @ (after - before)).to(image)
    colours = image.flatten(1).T
    return ((colours + _features(colours) @ change).clamp(0, 1) - colours).T.view_as(image)


def _features(colours: Float[Tensor, "n 3"]) -> Float[Tensor, "n 5"]:
    return torch.cat([colours, colours.mean(1, keepdim=True) ** 2, torch.ones_like(colours[:, :1])], 1)
