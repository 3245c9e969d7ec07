"""Text refinement as the public code does it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.embedding.text_refine import Task, TextRefine, Words, attention_mask
from diffharmon.types import Event


@dataclass(frozen=True)
class ReferenceTextRefine(TextRefine):
    """`TextRefine` with the public code's deviations (Q6, Q10, Q14 of `diffharmon.reference.quirks`), each an option.

    Args:
        latents: ``denoised`` starts from pure noise and denoises without text, which drifts off the inversion;
            ``trajectory`` reads each step's latent from the inversion.
        mask_antialias: Reduce the mask with antialiasing; the public code's version of the library did not.
        weighting: ``softmax_again`` applies the softmax to the fusion weights themselves after every update, which
            pulls them to uniform; ``softmax`` optimizes logits.
    """

    latents: Literal["trajectory", "denoised"] = "trajectory"
    mask_antialias: bool = True
    weighting: Literal["softmax", "softmax_again"] = "softmax"

    def noisy_latents(self, task: Task) -> Iterator[Float[Tensor, "1 c y x"]]:
        """Denoise without text from step to step, or follow the inversion."""
        if self.latents == "trajectory":
            yield from super().noisy_latents(task)
            return
        schedule = task.inversion.trajectory.schedule
        steps = len(schedule.timesteps)
        # Not `latents[:1]`: the strides of the batch decide over the memory format, and so over the rounding.
        latent = task.inversion.trajectory.latents[0, None]
        for step in range(steps):
            yield latent
            with torch.no_grad():
                unconditional = task.conditioning.unconditional[step]
                noise = task.backbone.predict(latent, schedule.timesteps[step], unconditional)
                latent = schedule.denoise(latent, noise, step)
            done = (step + 1) * self.updates - 1
            task.observe(Event("text", done, steps * self.updates, {"latent": latent}))

    def attention_mask(
        self, latent_mask: Float[Tensor, "1 y x"], size: tuple[int, int]
    ) -> Float[Tensor, "2 rows columns"]:
        """Reduce the mask with or without antialiasing."""
        return attention_mask(latent_mask, size, self.mask_antialias)

    def initial_weights(self, tokens: int) -> Float[Tensor, " l"]:
        """Equal weights, or their logits."""
        return torch.full((tokens,), 1 / tokens) if self.repeated else super().initial_weights(tokens)

    def fusion(self, words: Words) -> Float[Tensor, " l"]:
        """The weights of the background tokens."""
        return words.weights if self.repeated else super().fusion(words)

    def after_update(self, words: Words) -> None:
        """Apply the softmax to the weights themselves, where asked for."""
        if self.repeated:
            words.weights.data = words.weights.data.softmax(dim=0)

    @property
    def repeated(self) -> bool:
        """Whether the fusion weights themselves go through the softmax."""
        return self.weighting == "softmax_again"
