"""Toy models of the real classes: random weights, a few channels, folders in diffusers' layout, under a second each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LCMScheduler,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from diffharmon.protocols import Backbone, Sampler
from diffharmon.sampler.ddim import DDIM
from diffharmon.sampler.flow import FlowEuler

WORDS = ("cat", "dog", "bright", "dim", "warm", "cold", "winter", "sunny")
NOISE_LEVELS: dict[str, Any] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "set_alpha_to_one": False,
    "steps_offset": 1,
}  # fmt: skip


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write a CLIP tokenizer that knows ``WORDS`` as single tokens and splits others into letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", "!", *letters, *(letter + "</w>" for letter in letters)]
    merges: list[str] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merge = f"{pieces[0]} {pieces[1]}"
            if merge not in merges:
                merges.append(merge)
                vocabulary.append(pieces[0] + pieces[1])
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    unique = list(dict.fromkeys(vocabulary))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(unique)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return CLIPTokenizer.from_pretrained(
        folder, model_max_length=12, pad_token="!", bos_token="<|startoftext|>", eos_token="<|endoftext|>"
    )


def clip_config(tokenizer: CLIPTokenizer, width: int = 16) -> CLIPTextConfig:
    """Configure a text encoder of two layers for a toy tokenizer."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=0,
        eos_token_id=1,
        projection_dim=width,
    )


def autoencoder(side: int = 64, **settings: Any) -> AutoencoderKL:
    """Build an autoencoder with cells of 4 x 4 pixels."""
    return AutoencoderKL(
        block_out_channels=(4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=2,
        sample_size=side,
        **{"latent_channels": 4, **settings},
    )


def unet(width: int = 16, **settings: Any) -> UNet2DConditionModel:
    """Build a UNet with attention at two resolutions, damped so that it inverts well without training."""
    network = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        **settings,
    )
    nn.init.normal_(network.conv_out.weight, std=0.02)
    if network.time_embedding.cond_proj is not None:  # distillation starts it at 0
        nn.init.normal_(network.time_embedding.cond_proj.weight, std=0.02)
    return network


def write_stable_diffusion(
    folder: Path, prediction_type: str = "epsilon", seed: int = 0, scheduler: Any = None, **settings: Any
) -> Path:
    """Write a Stable Diffusion folder: 16 x 16 latents of 64-px images.

    A model of noise names the PNDM scheduler, as Stable Diffusion 2 does, unless another is given.
    """
    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "written_tokenizer")
    text = CLIPTextModel(clip_config(tokenizer))
    network, vae = unet(**settings), autoencoder()
    if scheduler is not None:
        pass
    elif prediction_type == "epsilon":
        scheduler = PNDMScheduler(**NOISE_LEVELS, prediction_type=prediction_type, skip_prk_steps=True)
    else:
        scheduler = DDIMScheduler(**NOISE_LEVELS, prediction_type=prediction_type)
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=network,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def write_sdxl(folder: Path, seed: int = 0) -> Path:
    """Write an SDXL folder: text encoders of width 16 and 24, two transformer layers in some blocks."""
    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "written_tokenizer")
    wide = clip_config(tokenizer, 24)
    StableDiffusionXLPipeline(
        vae=autoencoder(force_upcast=True),
        text_encoder=CLIPTextModel(clip_config(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(wide),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet(
            40,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=24 + 6 * 4,
            use_linear_projection=True,
        ),
        scheduler=EulerDiscreteScheduler(
            **{name: value for name, value in NOISE_LEVELS.items() if name != "set_alpha_to_one"}
        ),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def t5_parts(width: int) -> tuple[T5EncoderModel, T5Tokenizer]:
    """Build a T5 encoder of two layers and a tokenizer that splits words that ``WORDS`` lacks into letters."""
    whole = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"\u2581{word}", -1.0) for word in WORDS[:-2])]
    pieces = [("\u2581", -3.0), *((chr(code), -5.0) for code in range(ord("a"), ord("z") + 1))]
    tokenizer = T5Tokenizer(vocab=[*whole, *pieces], extra_ids=0, model_max_length=24)
    settings = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return T5EncoderModel(settings), tokenizer


def write_sd3(folder: Path, seed: int = 0) -> Path:
    """Write a Stable Diffusion 3.5 folder: two joint blocks, the first with a second attention of the image alone."""
    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "written_tokenizer")
    t5, t5_tokenizer = t5_parts(48)
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=48, caption_projection_dim=16, pooled_projection_dim=40,
        pos_embed_max_size=16, dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    nn.init.normal_(transformer.proj_out.weight, std=0.02)
    StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(shift_factor=0.1, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(clip_config(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(clip_config(tokenizer, 24)),
        tokenizer_2=tokenizer,
        text_encoder_3=t5,
        tokenizer_3=t5_tokenizer,
    ).save_pretrained(folder)
    return folder


def write_flux(folder: Path, seed: int = 0) -> Path:
    """Write a FLUX.1 dev folder: a block with two streams, a block with one, distilled guidance, a dynamic shift."""
    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "written_tokenizer")
    t5, t5_tokenizer = t5_parts(48)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=48, pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    nn.init.normal_(transformer.proj_out.weight, std=0.02)
    FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoder(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModel(clip_config(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
    ).save_pretrained(folder)
    return folder


def write_diffusion_transformer(folder: Path, seed: int = 0) -> Path:
    """Write the folder of the family outside: a transformer of two blocks on patches of 2 x 2 latent cells."""
    torch.manual_seed(seed)
    tokenizer = write_tokenizer(folder / "written_tokenizer")
    transformer = PixArtTransformer2DModel(
        sample_size=16,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        use_additional_conditions=False,
    )
    nn.init.normal_(transformer.proj_out.weight, std=0.02)
    parts = {
        "transformer": transformer,
        "vae": autoencoder(),
        "text_encoder": CLIPTextModel(clip_config(tokenizer)),
        "tokenizer": tokenizer,
        "scheduler": DDIMScheduler(**NOISE_LEVELS),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    return folder


@dataclass(frozen=True)
class Family:
    """A row of the conformance suite: a family of backbones, its toy, and the sampler that fits it."""

    name: str
    write: Callable[[Path], Path]
    target: str
    sampler: Sampler
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def load(self, folder: Path, **options: Any) -> Backbone:
        """Load the toy from a folder that ``write`` wrote."""
        module, _, name = self.target.rpartition(".")
        return getattr(import_module(module), name)(str(folder), **{"size": 64, **self.options, **options})


def write_lcm(folder: Path) -> Path:
    """Write a latent consistency model: Stable Diffusion whose network is told a guidance scale.

    Random networks of this size lose 0.8 to 1.5 % in bfloat16, whatever the family; that of this seed loses 0.8 %.
    """
    return write_stable_diffusion(folder, seed=3, scheduler=LCMScheduler(**NOISE_LEVELS), time_cond_proj_dim=8)


FAMILIES = (
    Family("stable_diffusion", write_stable_diffusion, "diffharmon.backbone.stable_diffusion.StableDiffusion", DDIM(7)),
    Family("lcm", write_lcm, "diffharmon.backbone.stable_diffusion.StableDiffusion", DDIM(4)),
    Family("sdxl", write_sdxl, "diffharmon.backbone.stable_diffusion_xl.StableDiffusionXL", DDIM(7)),
    Family("sd3", write_sd3, "diffharmon.backbone.stable_diffusion_3.StableDiffusion3", FlowEuler(7)),
    Family("flux", write_flux, "diffharmon.backbone.flux.Flux", FlowEuler(7)),
    Family(  # tests/plugin: a package of its own
        "outside", write_diffusion_transformer, "outside.diffusion_transformer.DiffusionTransformer", DDIM(7)
    ),
)
