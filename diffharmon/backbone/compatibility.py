"""Checks on checkpoints that others made: what fits is adapted, the rest is refused before any weights are read."""

import logging
from collections.abc import Mapping
from typing import Any

from diffharmon.errors import ModelError

log = logging.getLogger(__name__)

PREDICTIONS = ("epsilon", "v_prediction")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
SPACINGS = ("leading", "trailing")
# Families of schedulers whose noise levels are not those of a DDIM model: taking the defaults instead would be silent.
OTHER_FAMILIES = {
    "FlowMatch": "a flow-matching model",
    "EDM": "an EDM model, with continuous noise levels",
    "LCM": "a latent consistency model, distilled for a few steps of its own scheduler",
    "TCD": "a trajectory consistency model, distilled for a few steps of its own scheduler",
}
# What UNets of another number of input channels are, with the usual 4 latent channels.
INPUT_CHANNELS = {
    5: "a depth-conditioned model",
    7: "an upscaling model",
    8: "an instruction-editing model (InstructPix2Pix) or an image-variation model",
    9: "an inpainting model",
}


def ddim_settings(path: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a DDIM scheduler with the noise levels of any scheduler's configuration.

    What only the named scheduler knows is dropped. ``linspace`` spacing, the default of Euler's, has no inverse in
    diffusers and says nothing about the model, so ``leading`` takes its place.

    Raises:
        ModelError: The model is of another family, or its noise levels or prediction are not DDIM's.
    """
    name = str(config.get("_class_name", "a scheduler"))
    for family, meaning in OTHER_FAMILIES.items():
        if name.startswith(family):
            raise ModelError(f"{path}: {name} belongs to {meaning}; expected a Stable Diffusion 1.x or 2.x model")
    settings = {key: value for key, value in config.items() if key not in ("sigma_data", "sigma_min", "sigma_max")}
    schedule = settings.get("beta_schedule", "linear")
    if settings.get("trained_betas") is None and schedule not in BETA_SCHEDULES:
        raise ModelError(f"{path}: beta_schedule={schedule!r} of {name}; expected one of {', '.join(BETA_SCHEDULES)}")
    prediction = settings.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise ModelError(f"{path}: expected a model that predicts epsilon or v, got {prediction!r}")
    if settings.get("rescale_betas_zero_snr") and prediction == "epsilon":
        raise ModelError(
            f"{path}: rescale_betas_zero_snr with prediction_type=epsilon: at zero signal the image cannot be computed "
            "from the noise, and every result would be not finite; expected prediction_type=v_prediction, or a "
            "scheduler_config.json without rescale_betas_zero_snr"
        )
    spacing = settings.get("timestep_spacing", "leading")
    if spacing not in SPACINGS:
        log.info("%s: timestep_spacing=%s of %s is replaced by leading, which DDIM can invert", path, spacing, name)
        settings["timestep_spacing"] = "leading"
    # Latent diffusion never clips the predicted image; DDIM would by default where the config does not say.
    return {**settings, "clip_sample": False, "thresholding": False}


def check_noise_levels(path: str, alphas: Any, prediction: str) -> None:
    """Refuse noise levels that end at zero signal under an epsilon prediction, whatever setting made them.

    Args:
        path: The model, for the message.
        alphas: The scheduler's ``alphas_cumprod``.
        prediction: Its prediction type.

    Raises:
        ModelError: The last level has no signal.
    """
    if prediction == "epsilon" and float(alphas[-1]) < 1e-7:
        raise ModelError(
            f"{path}: its noise levels end at zero signal and it predicts epsilon, so no result would be finite; "
            "expected prediction_type=v_prediction or other betas"
        )


def check_parts(path: str, unet: Mapping[str, Any], vae: Mapping[str, Any], text: Mapping[str, Any]) -> None:
    """Check that UNet, autoencoder and text encoder fit each other, from their configurations alone.

    Raises:
        ModelError: Naming the two that do not fit, and the kind of model where it is a known one.
    """
    latent = int(vae.get("latent_channels", 4))
    channels, outputs = int(unet.get("in_channels", 4)), int(unet.get("out_channels", 4))
    if unet.get("addition_embed_type") in ("text_time", "text_image", "image"):
        refiner = unet.get("cross_attention_dim") == 1280
        kind = "an SDXL refiner" if refiner else "an SDXL model"
        raise ModelError(f"{path} is {kind}; expected a Stable Diffusion 1.x or 2.x text-to-image model")
    if channels != latent:
        kind = INPUT_CHANNELS.get(channels, "not a plain text-to-image model")
        raise ModelError(
            f"{path} is {kind}: its UNet takes {channels} channels and its autoencoder gives {latent}; expected a "
            "text-to-image model, such as the one it was fine-tuned from"
        )
    if outputs != latent:
        raise ModelError(f"{path}: the UNet returns {outputs} channels, expected the autoencoder's {latent}")
    width, given = unet.get("cross_attention_dim"), text.get("hidden_size")
    widths = set(width) if isinstance(width, (list, tuple)) else {width}
    if given is not None and width is not None and widths != {given}:
        raise ModelError(
            f"{path}: the UNet attends to text of width {width} and the text encoder gives {given}; expected parts of "
            "one model"
        )
