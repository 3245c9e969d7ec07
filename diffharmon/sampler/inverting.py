"""What samplers that invert an image share: the loops of inversion and edit over the schedule of each."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from diffharmon.protocols import Backbone
from diffharmon.sampler.loops import edit, invert
from diffharmon.types import AttentionRule, Conditioning, Guidance, Observer, Schedule, Trajectory, ignore


@dataclass(frozen=True)
class Inverting(ABC):
    """Inverts the image along a schedule and denoises both branches along the same one.

    Args:
        steps: Number of sampling steps.
        direct_inversion: Put the source branch of an edit back on the inversion after every step (arXiv 2310.01506), so
            that the edited branch takes its attention from a branch that reconstructs the image, with no optimization
            of the unconditional embedding.
        target_correction: Fraction of the source branch's correction that direct inversion gives to the edited branch
            too; 0 is the published method, 1 moves both branches alike.
    """

    steps: Annotated[int, Ge(1), Le(1000)] = 50
    direct_inversion: bool = True
    target_correction: Annotated[float, Ge(0), Le(1)] = 0.0

    @abstractmethod
    def schedule(self, backbone: Backbone) -> Schedule:
        """Lay out the steps for a model."""

    def invert(
        self,
        backbone: Backbone,
        latent: Float[Tensor, "1 c y x"],
        conditioning: Conditioning,
        guidance: Guidance,
        observe: Observer = ignore,
    ) -> Trajectory:
        """Invert a clean latent to noise under the foreground prompt."""
        return invert(backbone, self.schedule(backbone), latent, conditioning, guidance, observe)

    def edit(
        self,
        backbone: Backbone,
        trajectory: Trajectory,
        conditioning: Conditioning,
        guidance: Guidance,
        rules: Sequence[AttentionRule] = (),
        observe: Observer = ignore,
    ) -> Float[Tensor, "2 c y x"]:
        """Denoise source branch and edited branch side by side; returns their clean latents."""
        correction = self.target_correction if self.direct_inversion else None
        return edit(backbone, trajectory, conditioning, guidance, rules, correction, observe)
