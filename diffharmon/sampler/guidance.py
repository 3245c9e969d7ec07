"""Classifier-free guidance (arXiv 2207.12598): how the unconditional and the conditional prediction are combined."""

import torch
from jaxtyping import Float, Num
from torch import Tensor

from diffharmon.protocols import Backbone


def predict_guided(
    backbone: Backbone,
    latent: Float[Tensor, "b c y x"],
    timestep: Num[Tensor, ""],
    unconditional: Float[Tensor, "b n d"],
    conditional: Float[Tensor, "b n d"],
    guidance: float,
) -> Float[Tensor, "b c y x"]:
    """Predict with classifier-free guidance: ``u + guidance * (c - u)``.

    Guidance 0 evaluates the unconditional branch alone and guidance 1 the conditional one. Otherwise both run in one
    batch, the unconditional rows first.
    """
    if guidance == 0:
        return backbone.predict(latent, timestep, unconditional)
    if guidance == 1:
        return backbone.predict(latent, timestep, conditional)
    both = backbone.predict(torch.cat([latent, latent]), timestep, torch.cat([unconditional, conditional]))
    without, with_text = both.chunk(2)
    return without + guidance * (with_text - without)


def edit_rows(guidance: float) -> tuple[int, ...]:
    """Return the batch row that each row of the edit follows: edited follows source in the conditional half.

    The unconditional half is left alone, as in the reference (quirk Q25). At guidance 0 there is no conditional half.
    """
    if guidance == 0:
        return (0, 1)
    return (0, 0) if guidance == 1 else (0, 1, 2, 2)
