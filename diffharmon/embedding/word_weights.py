"""What a word's weight does to a prompt: its token is moved away from the neutral word's by that much."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.light import neutral_word
from diffharmon.protocols import Backbone
from diffharmon.types import Description, TokenEdit

Side = Literal["foreground", "background"]


def weighted_edits(backbone: Backbone, description: Description) -> tuple[TokenEdit | None, TokenEdit | None]:
    """Return what weights do to the foreground's and the background's prompt; None where every word counts fully.

    The same for every backbone: it uses nothing but the backbone's input embeddings.
    """
    spans = backbone.words(description)
    edits: list[TokenEdit | None] = []
    sides: tuple[tuple[Side, Mapping[str, tuple[int, ...]]], ...] = (
        ("foreground", spans.foreground),
        ("background", spans.background),
    )
    for side, positions in sides:
        if getattr(description, f"{side}_weights"):
            places = tuple(sorted(place for span in positions.values() for place in span))
            edits.append(TokenEdit(places, weighted_vectors(backbone, description, side, positions)))
        else:
            edits.append(None)
    return edits[0], edits[1]


def weighted_vectors(
    backbone: Backbone, description: Description, side: Side, spans: Mapping[str, tuple[int, ...]]
) -> Float[Tensor, "k d"]:
    """Return the input embeddings of one side's condition tokens, in ascending order of position.

    A word of weight w stands at the neutral word's embedding plus w times what separates the two, at the word's own
    positions; so weight 0 says nothing about the light, and 1 leaves the word as it is.

    Args:
        backbone: The model whose embeddings they are.
        description: Words and weights.
        side: Whose prompt.
        spans: Positions of each of its words.
    """
    words: tuple[str, ...] = getattr(description, side)
    weights: dict[str, float] = getattr(description, f"{side}_weighted")
    prompt: str = getattr(description, f"{side}_prompt")
    vectors: dict[int, Tensor] = {}
    for word, places in spans.items():
        own = backbone.input_embeddings(prompt, places)
        weight = weights.get(word, 1.0)
        if weight != 1:
            before = (description.object, *words[: words.index(word)])
            neutral = " ".join((*before, *[neutral_word()] * len(places)))  # one token of it for each of the word's
            own = torch.lerp(backbone.input_embeddings(neutral, places), own, weight)
        vectors |= dict(zip(places, own, strict=True))
    return torch.stack([vectors[place] for place in sorted(vectors)])
