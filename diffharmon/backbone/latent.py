"""What families of diffusion models on an autoencoder's latents share: canvas, encoding, decoding, attention rules."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding
from jaxtyping import Float
from torch import Tensor, nn

from diffharmon.attention.control import attention_control
from diffharmon.attention.processor import MapStore
from diffharmon.backbone.canvas import fitted
from diffharmon.backbone.lane import LaneBackbone
from diffharmon.backbone.memory import Memory
from diffharmon.backbone.offload import Offload, settle, stream, streamed_parts
from diffharmon.errors import ConfigError
from diffharmon.lockstep.lanes import Lane
from diffharmon.types import AttentionRule

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class LatentModel(nn.Module):
    """A frozen network on the latents of an autoencoder, both of diffusers' classes.

    A family derives from it, assigns the attributes below in its constructor, calls ``freeze`` last, and adds
    ``embed``, ``input_embeddings``, ``words`` and ``predict``.

    Attributes:
        network: The model whose calls are counted.
        vae: The autoencoder, in float32.
        size: Side in pixels of the square canvas, or of the square of the canvas's area.
        fit: Whether the canvas keeps the photo's aspect.
        cell: Side of a latent cell in pixels.
        resolution_multiple: What both sides of a canvas are multiples of.
        streamed: Names of the parts whose weights come to an accelerator for each call only.
    """

    network: Any
    vae: Any
    size: int
    fit: bool
    cell: int
    resolution_multiple: int
    streamed: tuple[str, ...] = ()

    def freeze(self, gradient_checkpointing: bool, offload: Offload) -> None:
        """Turn off training and weight gradients; part of construction."""
        self.requires_grad_(False).eval()
        if gradient_checkpointing:
            self.network.enable_gradient_checkpointing()
            self.vae.enable_gradient_checkpointing()
        self.streamed = streamed_parts(self, offload)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move the model to a device; parts that are streamed stay, and their layers come when they are called."""
        for name, part in self.named_children():
            if name not in self.streamed:
                part._apply(fn)
        for name in self.streamed:
            part = getattr(self, name)
            settle(part)
            if self.device.type != "cpu":
                stream(part, self.device)
        return self

    def check_size(self, path: str) -> None:
        """Refuse a size that the model cannot work at; part of construction, before weights load.

        Raises:
            ConfigError: ``size`` is no multiple of ``resolution_multiple``.
        """
        if self.size < self.resolution_multiple or self.size % self.resolution_multiple:
            raise ConfigError(f"size: expected a multiple of {self.resolution_multiple} for {path}, got {self.size}")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.vae.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network; diffusers' own property walks all modules at every call."""
        return next(self.network.parameters()).dtype

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width in pixels at which the model works on a photo of this size."""
        if not self.fit:
            return self.size, self.size
        return fitted(height, width, self.size, self.resolution_multiple)

    def encode(
        self, image: Float[Tensor, "b 3 h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Encode images in [0, 1] to scaled latents; with a generator the posterior is sampled, else its mode taken."""
        posterior = self.vae.encode(image * 2 - 1).latent_dist
        latent = posterior.mode() if generator is None else posterior.sample(generator)
        shift = self.vae.config.shift_factor
        return (latent if shift is None else latent - shift) * self.vae.config.scaling_factor

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Decode scaled latents to images around [0, 1], not clamped."""
        latent, shift = latent / self.vae.config.scaling_factor, self.vae.config.shift_factor
        return self.vae.decode(latent if shift is None else latent + shift).sample / 2 + 0.5

    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = (), steps: int = 1
    ) -> AbstractContextManager[MapStore]:
        """Put rules on the attention layers inside a ``with``; batch row r follows row ``sources[r]``."""
        return attention_control(self.network, rules, steps, sources)

    def guidance_embedding(self, rows: int, scale: float) -> Float[Tensor, "b d"] | None:
        """Embed the guidance scale for a distilled UNet (arXiv 2310.04378, section 4.3); None where it takes none."""
        width = self.network.config.time_cond_proj_dim
        if width is None:
            return None
        scales = torch.full((rows,), (scale - 1) * 1000, device=self.device)
        return get_timestep_embedding(scales, width, downscale_freq_shift=1).to(self.dtype)

    def remembering(self, limit: int) -> Memory:
        """Return this backbone for the work on one image: nothing is computed twice from equal inputs.

        Args:
            limit: Bytes of queries and keys that it may keep of branches that others follow.
        """
        return Memory(self, limit)

    def in_lane(self, lane: Lane) -> LaneBackbone:
        """Return this backbone for one of several images in lockstep."""
        return LaneBackbone(self, lane)
