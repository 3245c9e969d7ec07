"""Stable Diffusion as the public code runs it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.backbone.stable_diffusion import StableDiffusion


class ReferenceStableDiffusion(StableDiffusion):
    """`StableDiffusion` with the public code's deviation (Q33 of `diffharmon.reference.quirks`).

    Args:
        channels_last: Encode images channels last; changes rounding only.
        arguments: As for `StableDiffusion`.
    """

    def __init__(self, channels_last: bool = False, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.channels_last = channels_last

    def encode(
        self, image: Float[Tensor, "b 3 h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Encode images in the chosen memory layout."""
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return super().encode(image, generator)
