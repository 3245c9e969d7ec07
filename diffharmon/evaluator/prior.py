"""Harmony as the diffusion model itself judges it: under which words it denoises the foreground better."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, Lt, MinLen
from diffusers import DDIMScheduler
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import InputError
from diffharmon.protocols import Backbone
from diffharmon.types import Description, Score, Text


class Prior:
    """Log ratio of the foreground's denoising losses under the foreground's and the background's words.

    The loss under a prompt bounds the likelihood of the picture given the prompt (Li et al., "Your Diffusion Model is
    Secretly a Zero-Shot Classifier", ICCV 2023, equation 4); here it is taken over the object alone, under the same
    noise for both prompts. The score is positive where the background's words explain the foreground better than its
    own do, so it compares pictures under one description. The noise is the same for every picture.

    Args:
        backbone: The model; the one that harmonizes serves here too.
        levels: Noise levels, as fractions of the timesteps that the model was trained on.
        draws: Draws of noise at each level; each is used with both signs.
        seed: Draws the noise.
    """

    needs: ClassVar[tuple[str, ...]] = ("variance_preserving",)

    def __init__(
        self,
        backbone: Backbone,
        levels: Annotated[Sequence[Annotated[float, Gt(0), Lt(1)]], MinLen(1)] = (0.3, 0.5, 0.7),
        draws: Annotated[int, Ge(1), Le(64)] = 2,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.backbone = backbone
        self.levels = tuple(levels)
        self.draws = draws
        self.seed = seed
        self.scheduler: Any = DDIMScheduler.from_config({**backbone.noise_schedule, "clip_sample": False})

    @torch.no_grad()
    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the log ratio, and the mean losses under both prompts as terms.

        Raises:
            InputError: The mask leaves no foreground.
        """
        if not (mask > 0).any():
            raise InputError("the mask leaves no foreground to judge")
        device = self.backbone.device
        size = self.backbone.canvas_size(*image.shape[-2:])
        clean = self.backbone.encode(images.resize(image, size).to(device)[None])
        weight = F.interpolate(mask[None].to(clean), clean.shape[-2:], mode="area")[0]
        text = self.backbone.embed([description.foreground_prompt, description.background_prompt])
        losses = [self._losses(clean, weight, text, level) for level in self.levels]
        foreground, background = torch.stack(losses).mean(0).tolist()
        value = sum(math.log(own / other) for own, other in (loss.tolist() for loss in losses)) / len(losses)
        return Score(value, {"foreground": foreground, "background": background})

    def _losses(
        self, clean: Float[Tensor, "1 c y x"], weight: Float[Tensor, "1 y x"], text: Text, level: float
    ) -> Float[Tensor, "2"]:
        """Mean squared error over the object under both prompts, over all draws of noise at one level."""
        last = self.scheduler.config.num_train_timesteps - 1
        timestep = torch.tensor(round(level * last), device=clean.device)
        generator = torch.Generator().manual_seed(self.seed)
        total = torch.zeros(2, device=clean.device, dtype=torch.float32)
        for _ in range(self.draws):
            drawn = torch.randn(clean.shape, generator=generator).to(clean)
            for noise in (drawn, -drawn):
                noisy = self.scheduler.add_noise(clean, noise, timestep[None])
                output = self.backbone.predict(noisy.expand(2, -1, -1, -1), timestep, text)
                error = (output - self._target(clean, noise, timestep)).float().square()
                total += (error * weight).mean((1, 2, 3)) / weight.mean()
        return total / (2 * self.draws)

    def _target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Return what the model was trained to predict."""
        kind = self.scheduler.config.prediction_type
        if kind == "v_prediction":
            return self.scheduler.get_velocity(clean, noise, timestep[None])
        return noise if kind == "epsilon" else clean
