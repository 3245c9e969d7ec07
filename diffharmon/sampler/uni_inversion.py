"""Predictor-corrector inversion (Uni-Inv, arXiv 2504.13109), for any model."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.protocols import Backbone
from diffharmon.sampler.any_schedule import schedule_of
from diffharmon.sampler.inverting import Inverting
from diffharmon.types import Conditioning, Event, Guidance, Observer, Schedule, Trajectory, ignore


@dataclass(frozen=True)
class UniInversion(Inverting):
    """Inverts each step by the output at the point that it is denoised from, guessed by the last step's output.

    One network call a step, and one more at the clean end. The error of a step is of third order in its length, where
    that of plain inversion, which predicts at the point that it leaves, is of second order.
    """

    def schedule(self, backbone: Backbone) -> Schedule:
        """Lay out the steps for a model.

        Raises:
            ConfigError: More steps than the model was trained with.
        """
        return schedule_of(backbone, self.steps)

    @torch.no_grad()
    def invert(
        self,
        backbone: Backbone,
        latent: Float[Tensor, "1 c y x"],
        conditioning: Conditioning,
        guidance: Guidance,
        observe: Observer = ignore,
    ) -> Trajectory:
        """Invert a clean latent to noise under the foreground prompt."""
        schedule = self.schedule(backbone)
        steps = len(schedule.timesteps)

        def predict(latent: Tensor, step: int) -> Tensor:
            texts = conditioning.unconditional[step], conditioning.foreground[step]
            return guidance.predict(backbone.predict, latent, schedule.timesteps[step], *texts)

        latents = [latent]
        output = predict(latent, steps - 1)
        for step in reversed(range(steps)):
            guess = schedule.invert(latents[-1], output, step)
            output = predict(guess, step)
            latents.append(schedule.invert(latents[-1], output, step))
            observe(Event("inversion", steps - 1 - step, steps, {"latent": latents[-1]}))
        return Trajectory(schedule, torch.cat(latents[::-1]))
