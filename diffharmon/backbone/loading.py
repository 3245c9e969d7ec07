"""Loading the parts of a Stable Diffusion folder or hub repository, with one clear message when that fails."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffharmon.backbone.compatibility import check_noise_levels, check_parts, ddim_settings
from diffharmon.errors import ModelError

HELP = """To get it: set `backbone.path` to a folder in diffusers' Stable Diffusion layout (unet/, vae/, text_encoder/,
tokenizer/, scheduler/ with safetensors), or download it once while online (HF_HUB_OFFLINE unset): `hf download {path}`.
Works offline without any download: `backbone=tiny`, the model shipped with diffharmon."""


SETTINGS = ((AutoencoderKL, "vae"), (UNet2DConditionModel, "unet"))


def resolution_of(path: str, revision: str | None) -> tuple[int, int]:
    """Read from the model's settings, before any weights, pixels per latent cell and the multiple of a canvas's sides.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
    """
    hub: dict[str, Any] = {} if Path(path).is_dir() else {"revision": revision}
    try:
        vae, unet = (kind.load_config(path, subfolder=part, **hub) for kind, part in SETTINGS)
        text = CLIPTextConfig.from_pretrained(path, subfolder="text_encoder", **hub).to_dict()
        check_parts(path, unet, vae, text)
        cell = 2 ** (len(vae["block_out_channels"]) - 1)
        return cell, cell * 2 ** (len(unet["block_out_channels"]) - 1)
    except ModelError:
        raise
    except Exception as error:  # damaged configurations raise anything
        raise ModelError(missing_message(path, revision, error)) from error


def load_parts(
    path: str, revision: str | None, variant: str | None, dtype: torch.dtype
) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Load UNet (in ``dtype``), autoencoder and text encoder (float32), tokenizer, and the scheduler's settings.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
    """
    hub: dict[str, Any] = {} if Path(path).is_dir() else {"revision": revision}
    settings = noise_schedule_of(path, revision, hub)
    weights = {**hub, "use_safetensors": True}
    diffusion_weights = {**weights, "variant": variant}
    try:
        unet = UNet2DConditionModel.from_pretrained(path, subfolder="unet", torch_dtype=dtype, **diffusion_weights)
        vae = AutoencoderKL.from_pretrained(path, subfolder="vae", torch_dtype=torch.float32, **diffusion_weights)
        text = CLIPTextModel.from_pretrained(path, subfolder="text_encoder", dtype=torch.float32, **diffusion_weights)
        tokenizer = CLIPTokenizer.from_pretrained(path, subfolder="tokenizer", **hub)
    except Exception as error:  # what loading raises for missing, damaged or unfitting files is not one kind
        raise ModelError(missing_message(path, revision, error)) from error
    return unet, vae, text, tokenizer, settings


def noise_schedule_of(path: str, revision: str | None, hub: Mapping[str, Any]) -> dict[str, Any]:
    """Read the scheduler's settings and check them, before any weights.

    Raises:
        ModelError: They are missing, or not those of a Stable Diffusion model.
    """
    try:
        found = dict(DDIMScheduler.load_config(path, subfolder="scheduler", **hub))
    except Exception as error:
        raise ModelError(missing_message(path, revision, error)) from error
    settings = ddim_settings(path, found)
    settings.setdefault("num_train_timesteps", 1000)
    settings.setdefault("prediction_type", "epsilon")
    check_noise_levels(path, DDIMScheduler.from_config(settings).alphas_cumprod, settings["prediction_type"])
    return settings


def missing_message(path: str, revision: str | None, error: Exception) -> str:
    """Describe what was tried, how to get the model and what works without it."""
    kind = "local folder" if Path(path).is_dir() else f"hub repository (revision {revision or 'main'})"
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"cannot load the diffusion model {path!r}, tried as a {kind}: {reason[:300]}\n{HELP.format(path=path)}"
