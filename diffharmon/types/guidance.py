"""Classifier-free guidance (arXiv 2207.12598): how the unconditional and the conditional prediction are combined."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor

from diffharmon.types.text import Text

Predict = Callable[[Float[Tensor, "b c y x"], Num[Tensor, ""], Text], Float[Tensor, "b c y x"]]


@dataclass(frozen=True)
class Guidance:
    """A guidance scale, and everything that depends on it.

    Attributes:
        scale: 0 evaluates the unconditional branch alone and 1 the conditional one. Otherwise both run in one batch,
            the unconditional rows first.
    """

    scale: float

    def predict(
        self,
        predict: Predict,
        latent: Float[Tensor, "b c y x"],
        timestep: Num[Tensor, ""],
        unconditional: Text,
        conditional: Text,
    ) -> Float[Tensor, "b c y x"]:
        """Predict with guidance.

        Args:
            predict: The model's own prediction, such as ``Backbone.predict``.
            latent: Noisy latents.
            timestep: One of the schedule's.
            unconditional: The empty prompt or what stands in for it, a row for each latent.
            conditional: The prompts, a row for each latent.
        """
        if self.scale == 0:
            return predict(latent, timestep, unconditional)
        if self.scale == 1:
            return predict(latent, timestep, conditional)
        both = predict(torch.cat([latent, latent]), timestep, Text.cat([unconditional, conditional]))
        return self.combine(*both.chunk(2))

    def combine(
        self, without: Float[Tensor, "b c y x"], with_text: Float[Tensor, "b c y x"]
    ) -> Float[Tensor, "b c y x"]:
        """Combine the two predictions: ``without + scale * (with_text - without)``."""
        return without + self.scale * (with_text - without)

    @property
    def rows(self) -> tuple[int, ...]:
        """The row that each row of an edit's batch follows: the edited branch follows the source, where conditional.

        The unconditional half is left alone, as in the reference (quirk Q25). At scale 0 there is no conditional half.
        """
        if self.scale == 0:
            return (0, 1)
        return (0, 0) if self.scale == 1 else (0, 1, 2, 2)
