"""DDIM sampling and inversion (arXiv 2010.02502), with direct inversion (arXiv 2310.01506)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from jaxtyping import Float, Int
from torch import Tensor

from diffharmon.errors import ConfigError
from diffharmon.protocols import Backbone
from diffharmon.sampler.consistency import ConsistencySchedule
from diffharmon.sampler.inverting import Inverting


class DDIMSchedule:
    """Deterministic DDIM steps of a variance-preserving model, and the same steps backwards.

    Each inversion step is taken between the same two noise levels as its denoising step, so the two are exact inverses
    for a fixed model output.

    Args:
        noise_schedule: The model's noise levels, prediction type and timestep offsets, as diffusers stores them.
        steps: Number of sampling steps.
        device: Where the timesteps are kept.
        predict_at_level: Predict an inversion step at the timestep of the level that the latent is at, instead of at
            the timestep of the denoising step that it inverts.
    """

    timesteps: Int[Tensor, " i"]
    inversion_timesteps: Int[Tensor, " i"]

    def __init__(
        self, noise_schedule: Mapping[str, Any], steps: int, device: torch.device, predict_at_level: bool = False
    ) -> None:
        # Latent diffusion never clips the predicted image; DDIM would by default where the settings leave it out.
        settings = {**noise_schedule, "clip_sample": False, "thresholding": False}
        self.scheduler: Any = DDIMScheduler.from_config(settings)
        self.inverse: Any = DDIMInverseScheduler.from_config(self.scheduler.config)
        self.scheduler.set_timesteps(steps)
        self.inverse.set_timesteps(steps)
        self.stride = self.scheduler.config.num_train_timesteps // steps
        self.lay_out(self.scheduler.timesteps.to(device), predict_at_level)

    def lay_out(self, timesteps: Int[Tensor, " j"], predict_at_level: bool) -> None:
        """Assign the timesteps at which steps and inversion steps are predicted and taken; part of construction."""
        clean = (timesteps[-1:] - self.stride).clamp(min=0)
        self.timesteps = timesteps
        self.inversion_timesteps = torch.cat([timesteps[1:], clean]) if predict_at_level else timesteps
        self.levels: list[int] = timesteps.tolist()
        self.inversion_levels = self.levels

    def shares(self, step: int) -> tuple[float, float]:
        """Return the shares of clean latent and noise in what enters a step."""
        alphas = self.scheduler.alphas_cumprod
        alpha = float(alphas[self.levels[step]] if step < len(self.levels) else self.scheduler.final_alpha_cumprod)
        return alpha**0.5, (1 - alpha) ** 0.5

    def denoise(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards the image."""
        return self.scheduler.step(output, self.levels[step], latent).prev_sample

    def estimate(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Estimate the clean latent from a noisy one and the model output at its step."""
        return self.scheduler.step(output, self.levels[step], latent).pred_original_sample

    def invert(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards noise: from the latent that leaves sampling step ``step`` to the one that enters it."""
        return self.inverse.step(output, self.inversion_levels[step], latent).prev_sample


@dataclass(frozen=True)
class DDIM(Inverting):
    """Deterministic sampling by DDIM.

    Args:
        inversion: Where an inversion step is predicted. ``mirrored``: at the timestep of the denoising step that it
            inverts. ``level``: at the timestep of the noise level that the latent is at, which velocity models need,
            because their output means another noise at another level. ``auto`` is ``level`` for velocity models and
            ``mirrored`` for the others.
    """

    needs: ClassVar[tuple[str, ...]] = ("variance_preserving",)

    inversion: Literal["auto", "mirrored", "level"] = "auto"

    def schedule(self, backbone: Backbone) -> Any:
        """Lay out the steps for a model: those of a latent consistency model are on the grid of its distillation.

        Raises:
            ConfigError: More steps than the model was trained with.
        """
        noise_schedule = backbone.noise_schedule
        if "original_inference_steps" in noise_schedule:
            return ConsistencySchedule(noise_schedule, self.steps, backbone.device)
        trained = noise_schedule["num_train_timesteps"]
        if self.steps > trained:
            raise ConfigError(f"sampler.steps: expected 1 to {trained}, got {self.steps}")
        velocity = noise_schedule["prediction_type"] == "v_prediction"
        predict_at_level = velocity if self.inversion == "auto" else self.inversion == "level"
        schedule = DDIMSchedule(noise_schedule, self.steps, backbone.device, predict_at_level)
        if int(schedule.timesteps.max()) >= trained:  # the model's offset moves the last one out of its range
            raise ConfigError(f"sampler.steps: expected fewer steps, {self.steps} reach beyond the model's {trained}")
        return schedule
