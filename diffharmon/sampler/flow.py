"""Rectified-flow sampling by Euler steps (arXiv 2209.03003, 2403.03206), and its inversion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.errors import ConfigError
from diffharmon.protocols import Backbone
from diffharmon.sampler.inverting import Inverting


class FlowSchedule:
    """Euler steps of a model that predicts the velocity from image to noise, and the same steps backwards.

    Latents of noise level s are ``(1 - s) * clean + s * noise``. Levels are evenly spaced, then shifted towards noise
    by ``s * shift / (1 + (shift - 1) * s)`` as the model asks for (arXiv 2403.03206, section 5.3.2). diffusers has no
    inverse scheduler for these models.

    Args:
        noise_schedule: The model's ``num_train_timesteps``, ``shift`` and ``timestep_spacing``, in diffusers' names:
            before the shift, levels are spaced from 1 to the cleanest of training (``linspace``), or down to 0
            (``trailing``).
        steps: Number of sampling steps.
        device: Where the timesteps are kept.
        predict_at_level: Predict an inversion step at the noise level that the latent is at, instead of at that of the
            denoising step that it inverts.

    Raises:
        ConfigError: More steps than the model was trained with.
    """

    timesteps: Float[Tensor, " i"]
    inversion_timesteps: Float[Tensor, " i"]

    def __init__(
        self, noise_schedule: Mapping[str, Any], steps: int, device: torch.device, predict_at_level: bool = False
    ) -> None:
        trained, shift = int(noise_schedule["num_train_timesteps"]), float(noise_schedule["shift"])
        if steps > trained:
            raise ConfigError(f"sampler.steps: expected 1 to {trained}, got {steps}")
        # The cleanest level of training is shifted already, and once more with the others: as diffusers has it.
        last = 1 / steps if noise_schedule["timestep_spacing"] == "trailing" else shifted(1 / trained, shift)
        even = torch.linspace(1, last, steps, dtype=torch.float64)
        levels = torch.cat([shifted(even, shift), torch.zeros(1, dtype=torch.float64)])
        self.levels: list[float] = levels.tolist()
        timesteps = (levels * trained).float().to(device)
        self.timesteps = timesteps[:-1]
        self.inversion_timesteps = timesteps[1:] if predict_at_level else timesteps[:-1]

    def shares(self, step: int) -> tuple[float, float]:
        """Return the shares of clean latent and noise in what enters a step."""
        return 1 - self.levels[step], self.levels[step]

    def denoise(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards the image."""
        return latent + (self.levels[step + 1] - self.levels[step]) * output

    def estimate(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Estimate the clean latent from a noisy one and the model output at its step."""
        return latent - self.levels[step] * output

    def invert(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards noise: from the latent that leaves sampling step ``step`` to the one that enters it."""
        return latent + (self.levels[step] - self.levels[step + 1]) * output


def shifted(level: Any, shift: float) -> Any:
    """Shift noise levels towards noise."""
    return shift * level / (1 + (shift - 1) * level)


@dataclass(frozen=True)
class FlowEuler(Inverting):
    """Deterministic Euler steps of a rectified flow."""

    needs: ClassVar[tuple[str, ...]] = ("rectified_flow",)

    def schedule(self, backbone: Backbone) -> FlowSchedule:
        """Lay out the steps for a model.

        An inversion step is predicted at the level that the latent is at: a velocity means another noise elsewhere.

        Raises:
            ConfigError: The model is no rectified flow, or was trained with fewer steps.
        """
        if backbone.noise_schedule["prediction_type"] != "flow":
            raise ConfigError("sampler: FlowEuler needs a rectified flow such as sd3; expected DDIM for this backbone")
        return FlowSchedule(backbone.noise_schedule, self.steps, backbone.device, predict_at_level=True)
