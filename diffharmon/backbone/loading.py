"""Loading the parts of a Stable Diffusion folder or hub repository, with one clear message when that fails."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5EncoderModel

from diffharmon.backbone.compatibility import DISTILLED, check_noise_levels, check_parts, ddim_settings
from diffharmon.errors import ModelError

HELP = """To get it: set `backbone.path` to a folder in diffusers' layout (unet/ or transformer/, vae/, text_encoder/,
tokenizer/, scheduler/, with safetensors), or download it once while online (HF_HUB_OFFLINE unset):
`hf download {path}`. Works offline without any download: `backbone=tiny`, the model shipped with diffharmon."""


SETTINGS = ((AutoencoderKL, "vae"), (UNet2DConditionModel, "unet"))


def resolution_of(path: str, revision: str | None) -> tuple[int, int]:
    """Read from the model's settings, before any weights, pixels per latent cell and the multiple of a canvas's sides.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
    """
    hub = hub_settings(path, revision)
    check_network(path, "unet")
    with explained(path, revision):
        vae, unet = (kind.load_config(path, subfolder=part, **hub) for kind, part in SETTINGS)
        text = CLIPTextConfig.from_pretrained(path, subfolder="text_encoder", **hub).to_dict()
        check_parts(path, unet, vae, text)
        return unet_resolution(unet, vae)


def check_network(path: str, part: str) -> None:
    """Refuse a folder whose network is of another kind, by the name of its own folder: ``unet`` or ``transformer``.

    Raises:
        ModelError: The folder has the other kind of network.
    """
    other = {"unet": "transformer", "transformer": "unet"}[part]
    if (Path(path) / other).is_dir() and not (Path(path) / part).is_dir():
        raise ModelError(f"{path} is a model of another family: its network is in {other}/; expected one in {part}/")


def unet_resolution(unet: Mapping[str, Any], vae: Mapping[str, Any]) -> tuple[int, int]:
    """Return pixels per latent cell and the multiple of a canvas's sides; all levels of UNet and autoencoder halve."""
    cell = 2 ** (len(vae["block_out_channels"]) - 1)
    return cell, cell * 2 ** (len(unet["block_out_channels"]) - 1)


def load_parts(
    path: str, revision: str | None, variant: str | None, dtype: torch.dtype
) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Load UNet (in ``dtype``), autoencoder and text encoder (float32), tokenizer, and the scheduler's settings.

    Raises:
        ModelError: The model is missing, unreachable or not a Stable Diffusion model.
    """
    hub = hub_settings(path, revision)
    settings = noise_schedule_of(path, revision, hub)
    with explained(path, revision):
        unet, vae = load_unet(path, hub, variant, dtype), load_autoencoder(path, hub, variant)
        tokenizer, text = load_clip(path, hub, variant, CLIPTextModel)
    return unet, vae, text, tokenizer, settings


def hub_settings(path: str, revision: str | None) -> dict[str, Any]:
    """Return the arguments that select a revision on the hub; none for a local folder."""
    return {} if Path(path).is_dir() else {"revision": revision}


@contextmanager
def explained(path: str, revision: str | None) -> Iterator[None]:
    """Turn whatever loading a missing, damaged or unfitting model raises into one message.

    Raises:
        ModelError: What was tried, and how to get the model.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # damaged configurations and files raise anything
        raise ModelError(missing_message(path, revision, error)) from error


def load_unet(path: str, hub: Mapping[str, Any], variant: str | None, dtype: torch.dtype) -> Any:
    """Load the UNet."""
    return UNet2DConditionModel.from_pretrained(
        path, subfolder="unet", torch_dtype=dtype, variant=variant, use_safetensors=True, **hub
    )


def load_autoencoder(path: str, hub: Mapping[str, Any], variant: str | None) -> Any:
    """Load the autoencoder in float32: colours lose visibly in half precision, and SDXL's overflows there."""
    return AutoencoderKL.from_pretrained(
        path, subfolder="vae", torch_dtype=torch.float32, variant=variant, use_safetensors=True, **hub
    )


def load_clip(path: str, hub: Mapping[str, Any], variant: str | None, kind: Any, number: str = "") -> tuple[Any, Any]:
    """Load tokenizer and CLIP text encoder, in float32; ``number`` is the suffix of their folders' names."""
    text = kind.from_pretrained(
        path, subfolder=f"text_encoder{number}", dtype=torch.float32, variant=variant, use_safetensors=True, **hub
    )
    return CLIPTokenizer.from_pretrained(path, subfolder=f"tokenizer{number}", **hub), text


def load_transformer(kind: Any, path: str, hub: Mapping[str, Any], variant: str | None, dtype: torch.dtype) -> Any:
    """Load the transformer of a family."""
    return kind.from_pretrained(
        path, subfolder="transformer", torch_dtype=dtype, variant=variant, use_safetensors=True, **hub
    )


def load_t5(
    path: str, hub: Mapping[str, Any], variant: str | None, dtype: torch.dtype, number: str, weights: bool = True
) -> tuple[Any, Any]:
    """Load tokenizer and, unless it is not wanted, T5 text encoder; ``number`` is the suffix of their folders."""
    tokenizer = AutoTokenizer.from_pretrained(path, subfolder=f"tokenizer{number}", **hub)
    if not weights:
        return tokenizer, None
    part = f"text_encoder{number}"
    text = T5EncoderModel.from_pretrained(
        path, subfolder=part, dtype=dtype, variant=variant, use_safetensors=True, **hub
    )
    return tokenizer, text


def transformer_settings(path: str, hub: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read the settings of transformer, autoencoder and scheduler, before any weights."""
    parts = (
        (SD3Transformer2DModel, "transformer"),
        (AutoencoderKL, "vae"),
        (FlowMatchEulerDiscreteScheduler, "scheduler"),
    )
    transformer, vae, scheduler = (dict(kind.load_config(path, subfolder=part, **hub)) for kind, part in parts)
    return transformer, vae, scheduler


def noise_schedule_of(path: str, revision: str | None, hub: Mapping[str, Any]) -> dict[str, Any]:
    """Read the scheduler's settings and check them, before any weights.

    Raises:
        ModelError: They are missing, or not those of a Stable Diffusion model.
    """
    with explained(path, revision):
        found = dict(DDIMScheduler.load_config(path, subfolder="scheduler", **hub))
    settings = ddim_settings(path, found)
    settings.setdefault("num_train_timesteps", 1000)
    settings.setdefault("prediction_type", "epsilon")
    check_noise_levels(
        path,
        DDIMScheduler.from_config({k: v for k, v in settings.items() if k != DISTILLED}).alphas_cumprod,
        settings["prediction_type"],
    )
    return settings


def missing_message(path: str, revision: str | None, error: Exception) -> str:
    """Describe what was tried, how to get the model and what works without it."""
    kind = "local folder" if Path(path).is_dir() else f"hub repository (revision {revision or 'main'})"
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"cannot load the diffusion model {path!r}, tried as a {kind}: {reason[:300]}\n{HELP.format(path=path)}"
