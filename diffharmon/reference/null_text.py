"""Null-text optimization as the public code does it."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.embedding.null_text import NullText
from diffharmon.protocols import Backbone
from diffharmon.types import Conditioning, Schedule


@dataclass(frozen=True)
class ReferenceNullText(NullText):
    """`NullText` with the public code's deviations (Q19 of `diffharmon.reference.quirks`, and `edges_on`).

    Args:
        edges_on: ``step`` decodes the noisy latent that leaves the step for the structure losses, ``clean`` the
            estimate of the clean latent.
        stale_first: The first update of a step uses the foreground embedding of the step before.
    """

    edges_on: Literal["step", "clean"] = "clean"
    stale_first: bool = False

    def first_prediction(
        self,
        backbone: Backbone,
        schedule: Schedule,
        conditioning: Conditioning,
        latent: Float[Tensor, "1 c y x"],
        step: int,
        with_text: Float[Tensor, "1 c y x"],
    ) -> Float[Tensor, "1 c y x"]:
        """Predict under the embedding of the step before, where asked for."""
        if not self.stale_first or step == 0:
            return with_text
        with torch.no_grad():
            return backbone.predict(latent, schedule.timesteps[step], conditioning.foreground[step - 1])

    def compared(
        self,
        schedule: Schedule,
        latent: Float[Tensor, "1 c y x"],
        noise: Float[Tensor, "1 c y x"],
        after: Float[Tensor, "1 c y x"],
        step: int,
    ) -> Float[Tensor, "1 c y x"]:
        """Return the noisy latent that leaves the step, or the estimate of the clean one."""
        return after if self.edges_on == "step" else super().compared(schedule, latent, noise, after, step)
