"""DDIM as the public code runs it."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from diffharmon.errors import ConfigError
from diffharmon.protocols import Backbone
from diffharmon.sampler.ddim import DDIM, DDIMSchedule


class ShiftedSchedule(DDIMSchedule):
    """DDIM steps whose inversion lies one level above them.

    The last inversion step is left out and the clean latent taken for one at the first timestep, so that denoising
    starts one level below where the inversion ended.
    """

    def lay_out(self, timesteps: Int[Tensor, " j"], predict_at_level: bool) -> None:
        """Leave out the noisiest step; a step is inverted one level above the one it is predicted at."""
        super().lay_out(timesteps[1:], predict_at_level)
        self.inversion_levels = [level + self.stride for level in self.levels]


@dataclass(frozen=True)
class ReferenceDDIM(DDIM):
    """`DDIM` with the public code's deviation (Q5 of `diffharmon.reference.quirks`).

    Args:
        shifted: Run inversion and denoising one level apart.
    """

    shifted: bool = False

    def schedule(self, backbone: Backbone) -> DDIMSchedule:
        """Lay out the steps for a model, one fewer than asked for where they are shifted.

        Raises:
            ConfigError: More steps than the model was trained with, or no step is left.
        """
        schedule = super().schedule(backbone)
        if not self.shifted:
            return schedule
        if self.steps < 2:
            raise ConfigError(f"sampler.steps: expected at least 2 with sampler.shifted=true, got {self.steps}")
        return ShiftedSchedule(backbone.noise_schedule, self.steps, backbone.device)
