"""A change of light as weighted words: at most a few a side, by least squared error of the light."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition import grades
from diffharmon.condition.change import change_colours
from diffharmon.condition.light import card_maps, map_features, neutral_word
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.types.light import LightChange

WORDS: tuple[str, ...] = tuple(word for words in VOCABULARY.values() for word in words)
_STARTS = (0.2, 0.5, 1.0)  # weights that a new word is tried with
_STEPS = (0.7, 0.85, 1.0, 1.18, 1.4)  # factors that the weights of chosen words are refined by
_SMALLEST, _LARGEST = 0.1, 1.0
_SWEEPS = 2
_REFINED = 8  # of the best additions of a turn
_PAYS = 0.01  # a further word must take away this share of the whole change's squared error
_ROUNDING = 0.05


@dataclass(frozen=True)
class Wording:
    """Weighted words for a change of light, from the foreground's to the background's.

    Attributes:
        foreground: Weight by word of the light that the foreground was taken in.
        background: Weight by word of the light that it should be in.
        residual: Root mean square over the foreground's colours of what the words leave out, on the scale of [0, 1].
        size: The same of the whole change.
    """

    foreground: Mapping[str, float]
    background: Mapping[str, float]
    residual: float
    size: float


def put_into_words(change: LightChange, colours: Float[Tensor, "n 3"], words: int = 4) -> Wording:
    """Choose the weighted words whose named change comes nearest to a change of light.

    Greedy: each turn adds, to either side, the word and weight that leave the least squared error on the foreground's
    colours, then refines all weights; it ends when a further word hardly pays.

    Args:
        change: The change to be put into words.
        colours: Colours of the foreground, sRGB in [0, 1]; a few dozen suffice.
        words: Words a side at most.

    Raises:
        ValueError: when no word may be used or there is no colour.
    """
    if words < 1 or not len(colours):
        raise ValueError(f"expected at least one word a side and one colour, got {words} and {len(colours)}")
    search = _Search(colours, change_colours(change, colours) - colours)
    whole = search.target.square().mean()
    best, weights = whole, torch.zeros(2, len(WORDS))
    for _ in range(2 * words):
        trials = _additions(weights, words)
        errors = search.errors(trials)
        refined = search.refine(trials[errors.argsort()[:_REFINED]])
        error, place = search.errors(refined).min(0)
        candidate = refined[place]
        if best - error < _PAYS * whole:
            break
        best, weights = error, candidate
    weights = (weights / _ROUNDING).round() * _ROUNDING
    residual = search.errors(weights[None])[0].sqrt().item()
    return Wording(_named(weights[0]), _named(weights[1]), residual, whole.sqrt().item())


class _Search:
    """The error of weighted words against a wanted change of some colours."""

    def __init__(self, colours: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> None:
        self.colours, self.target = colours, target
        self.features = map_features(colours)
        self.settings = torch.tensor([grades.WORD_SETTINGS[word] for word in WORDS])

    def errors(self, weights: Float[Tensor, "k 2 w"]) -> Float[Tensor, "k"]:
        """Return the mean squared error of each trial."""
        settings = grades.mix(self.settings.expand(2 * len(weights), -1, -1), weights.flatten(0, 1))
        front, back = settings.unflatten(0, (-1, 2)).unbind(1)
        mapped = (self.colours + self.features @ card_maps(front, back)).clamp(0, 1) - self.colours
        return (mapped - self.target).square().mean((1, 2))

    def refine(self, weights: Float[Tensor, "c 2 w"]) -> Float[Tensor, "c 2 w"]:
        """Rescale, in every candidate, one weight after the other to where the error is least."""
        flat = weights.flatten(1).clone()
        candidates = torch.arange(len(flat))
        chosen = (flat > 0).sum(1).max().item()
        order = flat.argsort(1, descending=True)[:, : int(chosen)]
        factors = torch.tensor(_STEPS)
        for _ in range(_SWEEPS):
            for place in order.unbind(1):
                trials = flat[:, None].repeat(1, len(_STEPS), 1)
                now = flat[candidates, place]
                scaled = (now[:, None] * factors).clamp(_SMALLEST, _LARGEST)
                trials[candidates, :, place] = torch.where(now[:, None] > 0, scaled, 0)
                errors = self.errors(trials.flatten(0, 1).unflatten(1, (2, -1))).unflatten(0, (-1, len(_STEPS)))
                flat = trials[candidates, errors.argmin(1)]
        return flat.unflatten(1, (2, -1))


def _additions(weights: Float[Tensor, "2 w"], words: int) -> Float[Tensor, "k 2 w"]:
    """List the weights with one further word, of those that neither side uses, on a side that has room."""
    trials = []
    for side in (0, 1):
        if (weights[side] > 0).sum() >= words:
            continue
        free = ((weights.sum(0) == 0) & (torch.arange(len(WORDS)) != WORDS.index(neutral_word()))).nonzero()[:, 0]
        for start in _STARTS:
            more = weights.repeat(len(free), 1, 1)
            more[torch.arange(len(free)), side, free] = start
            trials.append(more)
    return torch.cat(trials)


def _named(weights: Float[Tensor, " w"]) -> dict[str, float]:
    """Name the weights, the largest first; a side without words is in neutral light."""
    found = {WORDS[index]: round(weights[index].item(), 2) for index in weights.nonzero()[:, 0].tolist()}
    return dict(sorted(found.items(), key=lambda pair: -pair[1])) or {neutral_word(): 1.0}
