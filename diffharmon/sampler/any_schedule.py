"""The schedule that fits a model, for samplers that work on any."""

from diffharmon.protocols import Backbone
from diffharmon.sampler.ddim import DDIM
from diffharmon.sampler.flow import FlowSchedule
from diffharmon.types import Schedule


def schedule_of(backbone: Backbone, steps: int) -> Schedule:
    """Lay out Euler steps for a rectified flow and DDIM steps for other models, inverted at the steps they mirror.

    Raises:
        ConfigError: More steps than the model was trained with.
    """
    noise_schedule = backbone.noise_schedule
    if noise_schedule["prediction_type"] != "flow":
        return DDIM(steps, inversion="mirrored").schedule(backbone)
    return FlowSchedule(noise_schedule, steps, backbone.device)
