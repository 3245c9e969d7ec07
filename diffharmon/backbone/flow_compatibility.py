"""Checks on rectified-flow checkpoints that others made, before any weights are read."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from diffharmon.errors import ModelError

SCHEDULER = "FlowMatchEulerDiscreteScheduler"
# Settings that would place the noise levels otherwise, with the value that does not.
NEUTRAL = {
    **dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas"), False),
    "shift_terminal": None,
    "time_shift_type": "exponential",
    "stochastic_sampling": False,
}


def check_transformer(
    path: str, kind: str, transformer: Mapping[str, Any], vae: Mapping[str, Any], packed: int = 1
) -> None:
    """Check that a transformer is of a family and takes the autoencoder's latents, from their configurations alone.

    Args:
        path: The model, for the message.
        kind: The transformer's class in diffusers.
        transformer: Its configuration.
        vae: The autoencoder's.
        packed: How many latent cells the transformer takes as one.

    Raises:
        ModelError: Naming what does not fit.
    """
    found = transformer.get("_class_name")
    if found != kind:
        raise ModelError(f"{path}: its transformer is {found}; expected {kind}, of another backbone's family")
    latent, channels = int(vae.get("latent_channels", 4)) * packed, int(transformer.get("in_channels", 16))
    outputs = int(transformer.get("out_channels") or channels)
    if channels != latent or outputs != latent:
        raise ModelError(
            f"{path}: its transformer takes {channels} channels and returns {outputs}, its autoencoder gives {latent}; "
            "expected a text-to-image model"
        )


def flow_settings(
    path: str, config: Mapping[str, Any], spacing: Literal["linspace", "trailing"], cells: int = 0
) -> dict[str, Any]:
    """Return the noise levels of a rectified flow, from its scheduler's configuration.

    Args:
        path: The model, for the message.
        config: The configuration.
        spacing: How the family's pipeline spaces noise levels.
        cells: Number of the transformer's image tokens, on which a dynamic shift depends.

    Raises:
        ModelError: The scheduler is of another family, or has settings that are not known here.
    """
    name = str(config.get("_class_name", "a scheduler"))
    if name != SCHEDULER:
        raise ModelError(f"{path}: {name} does not belong to a rectified flow; expected {SCHEDULER}")
    for key, neutral in NEUTRAL.items():
        if config.get(key, neutral) != neutral:
            raise ModelError(f"{path}: {key}={config[key]} of {name}; expected {key}={neutral}")
    shift = float(config.get("shift", 1.0))
    if config.get("use_dynamic_shifting"):
        shift = math.exp(dynamic_shift(config, cells))
    if not 0 < shift < math.inf:
        raise ModelError(f"{path}: shift={shift} of {name}; expected a positive number")
    return {
        "num_train_timesteps": int(config.get("num_train_timesteps", 1000)),
        "shift": shift,
        "prediction_type": "flow",
        "timestep_spacing": spacing,
    }


def dynamic_shift(config: Mapping[str, Any], cells: int) -> float:
    """Return the logarithm of the shift, linear in the number of image tokens, as FLUX's pipeline computes it."""
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return low + (high - low) * (cells - few) / (many - few)
