"""Deterministic steps on the grid that a latent consistency model was distilled for (LCM, arXiv 2310.04378)."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import LCMScheduler
from jaxtyping import Float, Int
from torch import Tensor

from diffharmon.errors import ConfigError


class ConsistencySchedule:
    """DDIM's steps between levels of a distilled model's grid, and the same steps backwards.

    The model's own scheduler draws new noise at every step, which no inversion can follow; at these levels the model's
    output means the same clean latent, so the step that keeps the noise is taken instead.

    Args:
        noise_schedule: The model's noise levels, prediction type and ``original_inference_steps``, as diffusers stores
            them.
        steps: Number of sampling steps.
        device: Where the timesteps are kept.

    Raises:
        ConfigError: More steps than the model was distilled for.
    """

    timesteps: Int[Tensor, " i"]
    inversion_timesteps: Int[Tensor, " i"]

    def __init__(self, noise_schedule: Mapping[str, Any], steps: int, device: torch.device) -> None:
        scheduler: Any = LCMScheduler.from_config(dict(noise_schedule))
        most = scheduler.config.original_inference_steps
        if steps > most:
            raise ConfigError(f"sampler.steps: expected 1 to {most}, which the model was distilled for, got {steps}")
        scheduler.set_timesteps(steps)
        self.velocity = scheduler.config.prediction_type == "v_prediction"
        self.timesteps = self.inversion_timesteps = scheduler.timesteps.to(device)
        alphas = [float(scheduler.alphas_cumprod[level]) for level in scheduler.timesteps]
        self.alphas = [*alphas, float(scheduler.final_alpha_cumprod)]

    def shares(self, step: int) -> tuple[float, float]:
        """Return the shares of clean latent and noise in what enters a step."""
        return self.alphas[step] ** 0.5, (1 - self.alphas[step]) ** 0.5

    def factors(self, step: int) -> tuple[float, float]:
        """Return what latent and output are multiplied by in a step towards the image."""
        (signal, noise), (next_signal, next_noise) = self.shares(step), self.shares(step + 1)
        if self.velocity:
            return next_signal * signal + next_noise * noise, next_noise * signal - next_signal * noise
        return next_signal / signal, next_noise - next_signal * noise / signal

    def denoise(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards the image."""
        of_latent, of_output = self.factors(step)
        return of_latent * latent + of_output * output

    def estimate(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Estimate the clean latent from a noisy one and the model output at its step."""
        signal, noise = self.shares(step)
        return signal * latent - noise * output if self.velocity else (latent - noise * output) / signal

    def invert(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards noise: from the latent that leaves sampling step ``step`` to the one that enters it."""
        of_latent, of_output = self.factors(step)
        return (latent - of_output * output) / of_latent
