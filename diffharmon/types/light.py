"""A change of light as numbers in CIELAB, with how uncertain it is."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class LightChange:
    """One affine map per CIELAB channel: a colour's distance from ``centre`` is stretched, then all is shifted.

    Attributes:
        centre: Mean colour of the foreground, CIELAB.
        shift: What is added to the mean.
        log_spread: Natural logarithm of the factor on the distance from the mean.
        deviation: Standard deviation of the six numbers above as the reader predicts it; zero where they are known.
    """

    centre: Float[Tensor, "3"]
    shift: Float[Tensor, "3"]
    log_spread: Float[Tensor, "3"]
    deviation: Float[Tensor, "6"]

    @classmethod
    def none(cls) -> "LightChange":
        """Return the change that leaves every colour as it is."""
        zero = torch.zeros(3)
        return cls(zero, zero, zero, torch.zeros(6))

    def scaled(self, strength: float) -> "LightChange":
        """Return the change taken ``strength`` of the way: 0 is none, 1 all of it."""
        return replace(self, shift=strength * self.shift, log_spread=strength * self.log_spread)

    def blend(self, other: "LightChange", share: float) -> "LightChange":
        """Return a change between this one and another of the same foreground; share 1 is the other."""
        return replace(
            self,
            shift=torch.lerp(self.shift, other.shift, share),
            log_spread=torch.lerp(self.log_spread, other.log_spread, share),
        )
