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
_HAZE = grades.SETTINGS.index("haze")
_AIR = slice(grades.SETTINGS.index("air_red"), grades.SETTINGS.index("air_blue") + 1)


def cards_under(choices: Sequence[Sequence[str]]) -> Float[Tensor, "k 30"]:
    """Render the cards under sets of condition words.

    Words go together as in `diffharmon.condition.grades.sample`, without its spread: settings add up, damped by
    n^-0.3, haze by what it lets through.

    Args:
        choices: Sets of words of the vocabulary; the empty set is neutral light.

    Returns:
        Display values in [0, 1], ten cards of three channels for each set.
    """
    settings = _settings(choices)
    cards = torch.tensor(CARDS).T[None, :, :, None].expand(len(choices), -1, -1, -1)
    return grades.apply(cards, settings).flatten(1)


def _settings(choices: Sequence[Sequence[str]]) -> Float[Tensor, "k 16"]:
    known = list(grades.WORD_SETTINGS)
    means = torch.tensor([grades.WORD_SETTINGS[word] for word in known])
    chosen = torch.zeros(len(choices), len(known))
    for row, choice in zip(chosen, choices, strict=True):
        row[[known.index(word) for word in choice]] = 1
    total = chosen @ means * chosen.sum(1, keepdim=True).clamp_min(1) ** -0.3
    haze = chosen * means[:, _HAZE]
    total[:, _HAZE] = 1 - (1 - haze).prod(1)
    total[:, _AIR] = (haze @ means[:, _AIR]) / haze.sum(1, keepdim=True).clamp_min(1e-6)
    return total
