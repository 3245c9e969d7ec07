"""The networks of all families without weights: how one is called, and what stands beside it."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch import Tensor

from diffharmon.pricing.shapes import CLIP_G, CLIP_H, CLIP_L, T5

CLIP_TOKENS, T5_TOKENS, FLUX_TOKENS = 77, 256, 512  # as the backbones pad prompts; SD3 has CLIP's and T5's in a row
PATCH = 2  # latent cells a side that FLUX packs into one place
UNET: Any = UNet2DConditionModel
SD3: Any = SD3Transformer2DModel
# The class of a family's network and its folder, by the name of the backbone's class.
FAMILIES: Mapping[str, tuple[Any, str]] = {
    "StableDiffusion": (UNET, "unet"),
    "StableDiffusionXL": (UNET, "unet"),
    "StableDiffusion3": (SD3, "transformer"),
    "Flux": (FluxTransformer2DModel, "transformer"),
}


def call(network: Any, latent: Tensor, gradient: bool = False) -> Tensor:
    """Call a network with text of its own width on tensors without data.

    Args:
        network: One of the classes of ``FAMILIES``.
        latent: Latents ``b c y x`` in the network's precision.
        gradient: Whether gradients flow to the text.
    """
    rows, settings = len(latent), network.config

    def empty(*shape: int, gradient: bool = False) -> Tensor:
        return torch.empty(rows, *shape, device=latent.device, dtype=latent.dtype, requires_grad=gradient)

    if isinstance(network, UNET):
        text = empty(CLIP_TOKENS, settings.cross_attention_dim, gradient=gradient)
        added = None
        if settings.addition_embed_type == "text_time":
            pooled = settings.projection_class_embeddings_input_dim - 6 * settings.addition_time_embed_dim
            added = {"text_embeds": empty(pooled), "time_ids": empty(6)}
        return network(latent, empty()[0], encoder_hidden_states=text, added_cond_kwargs=added).sample
    flow = {"pooled_projections": empty(settings.pooled_projection_dim), "timestep": empty()}
    if isinstance(network, SD3):
        text = empty(CLIP_TOKENS + T5_TOKENS, settings.joint_attention_dim, gradient=gradient)
        return network(hidden_states=latent, encoder_hidden_states=text, **flow).sample
    text = empty(FLUX_TOKENS, settings.joint_attention_dim, gradient=gradient)
    packed = torch.nn.functional.pixel_unshuffle(latent, PATCH).flatten(2).transpose(1, 2)
    places = (empty()[:1].expand(number, 3).float() for number in (FLUX_TOKENS, packed.shape[1]))
    flow |= dict(zip(("txt_ids", "img_ids"), places, strict=True))
    guidance = empty() if settings.guidance_embeds else None
    return network(hidden_states=packed, encoder_hidden_states=text, guidance=guidance, **flow).sample


def text_bytes(network: Any, bytes_each: int) -> int:
    """Bytes of the text encoders' weights: CLIP's in float32, T5's in the network's precision; 0 where not known.

    Args:
        network: One of the classes of ``FAMILIES``.
        bytes_each: Bytes of a weight of the network.
    """
    if isinstance(network, UNET):
        return 4 * {768: CLIP_L, 1024: CLIP_H, 2048: CLIP_L + CLIP_G}.get(network.config.cross_attention_dim, 0)
    clip = CLIP_L + CLIP_G if isinstance(network, SD3) else CLIP_L
    return 4 * clip + bytes_each * T5 if network.config.joint_attention_dim == 4096 else 0


def ends_as_the_stand_in(network: Any) -> bool:
    """Whether a call can end in the block in which the stand-in's ended: both have the blocks of Stable Diffusion."""
    return isinstance(network, UNET) and len(network.config.block_out_channels) == 4
