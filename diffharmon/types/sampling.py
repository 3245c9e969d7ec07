"""What a backbone provides, the steps it is sampled on, and the result of an inversion."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Num
from torch import Tensor


@dataclass(frozen=True)
class Capabilities:
    """What a family of backbones provides; a part that needs more is refused before weights load.

    Attributes:
        unconditional: The model knows the empty prompt, so guidance other than 1 is defined and there is an
            unconditional embedding to optimize.
        negative_prompt: Another prompt may stand in for the empty one.
        gradients_to_text: Gradients reach the text embeddings and the words' input embeddings.
        variance_preserving: Noise is mixed in as DDPM does, with noise levels that DDIM can step between.
        rectified_flow: Noise is mixed in linearly, and the model predicts the velocity from image to noise.
    """

    unconditional: bool = True
    negative_prompt: bool = True
    gradients_to_text: bool = True
    variance_preserving: bool = True
    rectified_flow: bool = False


@runtime_checkable
class Schedule(Protocol):
    """The noise levels of a run of sampling steps, and the moves between them.

    ``timesteps`` are the network's times of the steps, ``inversion_timesteps`` those at which each step's inversion is
    predicted.
    """

    timesteps: Num[Tensor, " i"]
    inversion_timesteps: Num[Tensor, " i"]

    def shares(self, step: int) -> tuple[float, float]:
        """Return the shares of clean latent and noise in what enters a step; ``len(timesteps)`` is the clean end."""
        ...

    def denoise(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards the image."""
        ...

    def estimate(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Estimate the clean latent from a noisy one and the model output at its step."""
        ...

    def invert(
        self, latent: Float[Tensor, "b c y x"], output: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one step towards noise: from the latent that leaves sampling step ``step`` to the one that enters it."""
        ...


@dataclass(frozen=True)
class Trajectory:
    """An inversion: ``latents[i]`` enters step i of the schedule; the last one is clean."""

    schedule: Schedule
    latents: Float[Tensor, "levels c y x"]
