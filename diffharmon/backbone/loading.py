"""Loading the parts of a Stable Diffusion folder or hub repository, with one clear message when that fails."""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffharmon.backbone.compatibility import check_noise_levels, check_parts, ddim_settings
from diffharmon.errors import ModelError
from diffharmon.results.provenance.weights import file_digest

HELP = """To get it: set `backbone.path` to a folder in diffusers' Stable Diffusion layout (unet/, vae/, text_encoder/,
tokenizer/, scheduler/ with safetensors), or download it once while online (HF_HUB_OFFLINE unset): `hf download {path}`.
Works offline without any download: `backbone=tiny`, the model that diffharmon carries."""


SETTINGS = ((AutoencoderKL, "vae"), (UNet2DConditionModel, "unet"))


def resolution_of(path: str, revision: str | None) -> tuple[int, int]:
    """Read from the model's settings, before any weights, pixels per latent cell and the multiple of a canvas's sides.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
    """
    path = diffusers_folder(path)
    hub: dict[str, Any] = {} if Path(path).is_dir() else {"revision": revision}
    try:
        vae, unet = (kind.load_config(path, subfolder=part, **hub) for kind, part in SETTINGS)
        text = CLIPTextConfig.from_pretrained(path, subfolder="text_encoder", **hub).to_dict()
        check_parts(path, unet, vae, text)
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
    path = diffusers_folder(path)
    hub: dict[str, Any] = {} if Path(path).is_dir() else {"revision": revision}
    weights = {**hub, "use_safetensors": True}
    diffusion_weights = {**weights, "variant": variant}
    try:
        unet = UNet2DConditionModel.from_pretrained(path, subfolder="unet", torch_dtype=dtype, **diffusion_weights)
        vae = AutoencoderKL.from_pretrained(path, subfolder="vae", torch_dtype=torch.float32, **diffusion_weights)
        text = CLIPTextModel.from_pretrained(path, subfolder="text_encoder", dtype=torch.float32, **diffusion_weights)
        tokenizer = CLIPTokenizer.from_pretrained(path, subfolder="tokenizer", **hub)
        noise_schedule = dict(DDIMScheduler.load_config(path, subfolder="scheduler", **hub))
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(missing_message(path, revision, error)) from error
    settings = ddim_settings(path, noise_schedule)
    settings.setdefault("num_train_timesteps", 1000)
    settings.setdefault("prediction_type", "epsilon")
    check_noise_levels(path, DDIMScheduler.from_config(settings).alphas_cumprod, settings["prediction_type"])
    return unet, vae, text, tokenizer, settings


def diffusers_folder(path: str) -> str:
    """Return the folder of a model in diffusers' layout: of a single ``.safetensors`` file, a converted copy.

    The copy lies in the cache of downloads (``HF_HOME``) under the file's digest, and is made once. The configuration
    of the model must be in that cache already when the hub cannot be reached.

    Raises:
        ModelError: The file cannot be converted.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in (".safetensors", ".ckpt") or not file.is_file():
        return path
    if file.suffix.lower() == ".ckpt":
        raise ModelError(f"{path} is a pickle, which can run code; expected a .safetensors file or diffusers' layout")
    folder = Path(HF_HOME) / "diffharmon" / file_digest(file)
    if not (folder / "model_index.json").is_file():
        try:
            pipeline = StableDiffusionPipeline.from_single_file(str(file), load_safety_checker=False)
            with tempfile.TemporaryDirectory(dir=existing(folder.parent)) as partial:
                pipeline.save_pretrained(Path(partial) / "model")
                os.replace(Path(partial) / "model", folder)
        except Exception as error:  # whatever a converter makes of a file that is no model
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ModelError(
                f"cannot convert the single file {path} to diffusers' layout: {reason}; expected a Stable Diffusion "
                "1.x or 2.x model, or a folder with unet/, vae/, text_encoder/, tokenizer/, scheduler/"
            ) from error
    return str(folder)


def existing(folder: Path) -> Path:
    """Make a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def missing_message(path: str, revision: str | None, error: Exception) -> str:
    """Say what was tried, how to get the model and what works without it."""
    kind = "local folder" if Path(path).is_dir() else f"hub repository (revision {revision or 'main'})"
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"cannot load the diffusion model {path!r}, tried as a {kind}: {reason[:300]}\n{HELP.format(path=path)}"
