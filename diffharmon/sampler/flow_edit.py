"""Editing without inversion (FlowEdit, arXiv 2412.08629), for any model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le, Lt
from jaxtyping import Float
from torch import Tensor

from diffharmon.protocols import Backbone
from diffharmon.sampler.any_schedule import schedule_of
from diffharmon.sampler.loops import edit
from diffharmon.types import AttentionRule, Conditioning, Guidance, Observer, Schedule, Trajectory, ignore


@dataclass(frozen=True)
class FlowEdit:
    """Carries the difference of both prompts' steps from level to level, each from the image under fresh noise.

    The source branch of a step is the noised image ``signal * image + noise``, the edited branch the same plus what the
    edit has changed so far. What the step makes of the two differs by the change after it, for noise predictions as for
    velocities: where the noise is mixed in linearly it is the published update. No network call is spent on inversion,
    and guidance of the inversion says nothing. Attention rules hold as in any edit; the published method has none.

    Args:
        steps: Number of sampling steps.
        start: Fraction of the steps, from the noisiest on, that is left out; the authors leave out 17 of 50 for Stable
            Diffusion 3. More keeps more of the image.
        seed: Seeds the noise, the same for all images of a size.
    """

    draws_random: ClassVar[bool] = True
    inverts: ClassVar[bool] = False  # read before weights load, by `diffharmon.config.capabilities`

    steps: Annotated[int, Ge(1), Le(1000)] = 50
    start: Annotated[float, Ge(0), Lt(1)] = 0.34
    seed: Annotated[int, Ge(0)] = 0

    def schedule(self, backbone: Backbone) -> Schedule:
        """Lay out the steps for a model.

        Raises:
            ConfigError: More steps than the model was trained with.
        """
        return schedule_of(backbone, self.steps)

    def invert(
        self,
        backbone: Backbone,
        latent: Float[Tensor, "1 c y x"],
        conditioning: Conditioning,
        guidance: Guidance,
        observe: Observer = ignore,
    ) -> Trajectory:
        """Mix noise into a clean latent at the level of each step; nothing is inverted."""
        schedule = self.schedule(backbone)
        generator = torch.Generator().manual_seed(self.seed)
        latents = []
        for step in range(len(schedule.timesteps)):
            signal, noise = schedule.shares(step)
            drawn = torch.randn(latent.shape, generator=generator).to(latent)
            latents.append(signal * latent + noise * drawn)
        return Trajectory(schedule, torch.cat([*latents, latent]))

    def edit(
        self,
        backbone: Backbone,
        trajectory: Trajectory,
        conditioning: Conditioning,
        guidance: Guidance,
        rules: Sequence[AttentionRule] = (),
        observe: Observer = ignore,
    ) -> Float[Tensor, "2 c y x"]:
        """Return the image's latent and the edited one."""
        first = int(self.start * len(trajectory.schedule.timesteps))
        return edit(backbone, trajectory, conditioning, guidance, rules, 1.0, observe, first)
