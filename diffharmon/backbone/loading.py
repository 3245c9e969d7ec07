"""Loading the parts of a Stable Diffusion folder or hub repository, with one clear message when that fails."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from diffharmon.errors import ModelError

HELP = """To get it: set `backbone.path` to a folder in diffusers' Stable Diffusion layout (unet/, vae/, text_encoder/,
tokenizer/, scheduler/ with safetensors), or download it once while online (HF_HUB_OFFLINE unset): `hf download {path}`.
Works offline without any download: `backbone=tiny`, the model that diffharmon carries."""


def load_parts(
    path: str, revision: str | None, variant: str | None, dtype: torch.dtype
) -> tuple[Any, Any, Any, Any, Any]:
    """Load UNet (in ``dtype``), autoencoder and text encoder (float32), tokenizer and a DDIM scheduler, in this order.

    The scheduler is DDIM whatever the model names (Stable Diffusion 2 names PNDM), with its noise levels and offsets.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
    """
    hub: dict[str, Any] = {} if Path(path).is_dir() else {"revision": revision}
    weights = {**hub, "use_safetensors": True}
    diffusion_weights = {**weights, "variant": variant}
    try:
        unet = UNet2DConditionModel.from_pretrained(path, subfolder="unet", torch_dtype=dtype, **diffusion_weights)
        vae = AutoencoderKL.from_pretrained(path, subfolder="vae", torch_dtype=torch.float32, **diffusion_weights)
        text = CLIPTextModel.from_pretrained(path, subfolder="text_encoder", dtype=torch.float32, **diffusion_weights)
        tokenizer = CLIPTokenizer.from_pretrained(path, subfolder="tokenizer", **hub)
        # Latent diffusion never clips the predicted image; DDIM would by default where the config does not say.
        config, _ = DDIMScheduler.load_config(path, subfolder="scheduler", return_unused_kwargs=True, **hub)
        scheduler = DDIMScheduler.from_config({**config, "clip_sample": False, "thresholding": False})
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(missing_message(path, revision, error)) from error
    if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
        raise ModelError(
            f"{path}: expected a model that predicts epsilon or v, got {scheduler.config.prediction_type!r}"
        )
    return unet, vae, text, tokenizer, scheduler


def missing_message(path: str, revision: str | None, error: Exception) -> str:
    """Say what was tried, how to get the model and what works without it."""
    kind = "local folder" if Path(path).is_dir() else f"hub repository (revision {revision or 'main'})"
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"cannot load the diffusion model {path!r}, tried as a {kind}: {reason[:300]}\n{HELP.format(path=path)}"
