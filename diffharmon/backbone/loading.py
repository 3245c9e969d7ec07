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


SETTINGS = ((AutoencoderKL, "vae"), (UNet2DConditionModel, "unet"))


def resolution_of(path: str, revision: str | None) -> tuple[int, int]:
    """Read from the model's settings, before any weights, pixels per latent cell and the multiple of a canvas's sides.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
    """
    hub: dict[str, Any] = {} if Path(path).is_dir() else {"revision": revision}
    try:
        vae, unet = (kind.load_config(path, subfolder=part, **hub) for kind, part in SETTINGS)
        cell = 2 ** (len(vae["block_out_channels"]) - 1)
        return cell, cell * 2 ** (len(unet["block_out_channels"]) - 1)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(missing_message(path, revision, error)) from error


def load_parts(
    path: str, revision: str | None, variant: str | None, dtype: torch.dtype
) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Load UNet (in ``dtype``), autoencoder and text encoder (float32), tokenizer, and the scheduler's settings.

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
        noise_schedule = dict(DDIMScheduler.load_config(path, subfolder="scheduler", **hub))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(missing_message(path, revision, error)) from error
    noise_schedule.setdefault("num_train_timesteps", 1000)
    prediction = noise_schedule.setdefault("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise ModelError(f"{path}: expected a model that predicts epsilon or v, got {prediction!r}")
    return unet, vae, text, tokenizer, noise_schedule


def missing_message(path: str, revision: str | None, error: Exception) -> str:
    """Say what was tried, how to get the model and what works without it."""
    kind = "local folder" if Path(path).is_dir() else f"hub repository (revision {revision or 'main'})"
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"cannot load the diffusion model {path!r}, tried as a {kind}: {reason[:300]}\n{HELP.format(path=path)}"
