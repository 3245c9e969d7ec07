"""Checks on checkpoints that others made: what fits is adapted, the rest is refused before any weights are read."""

import logging
from collections.abc import Mapping, Sequence
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
    "TCD": "a trajectory consistency model, distilled for a few steps of its own scheduler",
}
# Settings that place noise levels and predictions; DDIM's own.
NOISE_LEVELS = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "set_alpha_to_one"),
    *("steps_offset", "prediction_type", "timestep_spacing", "rescale_betas_zero_snr"),
)
# A latent consistency model was distilled at this many steps of the noise levels, and is sampled at some of them.
DISTILLED = "original_inference_steps"
# Settings of how other schedulers walk over the same noise levels: dropped, since DDIM walks over them in its own way.
WALKS = (
    *("algorithm_type", "clip_sample", "clip_sample_range", "corrector_order", "disable_corrector", "euler_at_final"),
    *("dynamic_thresholding_ratio", "final_sigmas_type", "flow_shift", "interpolation_type", "lambda_min_clipped"),
    *("lower_order_final", "original_inference_steps", "predict_x0", "predictor_order", "rho", "s_noise"),
    *("sample_max_value", "shift_terminal", "sigma_max", "sigma_min", "skip_prk_steps", "solver_order", "solver_p"),
    *("solver_type", "tau_func", "tensor_format", "thresholding", "time_shift_type", "timestep_scaling"),
    *("use_beta_sigmas", "use_dynamic_shifting", "use_exponential_sigmas", "use_karras_sigmas", "use_lu_lambdas"),
    "variance_type",
)
# Settings that have to have this value, and what another one means.
EXPECTED = {
    "use_flow_sigmas": (False, "a flow-matching model"),
    "timestep_type": ("discrete", "a model with continuous noise levels"),
    "predict_epsilon": (True, "a model that predicts the image"),
}
# Width of the text that SDXL's refiner attends to: its second text encoder alone.
REFINER_WIDTH = 1280
# What UNets of another number of input channels are, with the usual 4 latent channels.
INPUT_CHANNELS = {
    5: "a depth-conditioned model",
    7: "an upscaling model",
    8: "an instruction-editing model (InstructPix2Pix) or an image-variation model",
    9: "an inpainting model",
}


def ddim_settings(path: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a DDIM scheduler with the noise levels of any scheduler's configuration.

    How another scheduler walks over the noise levels is dropped. ``linspace`` spacing, the default of Euler's, has no
    inverse in diffusers and does not describe the model, so ``leading`` takes its place.

    Raises:
        ModelError: The model is of another family, its noise levels or prediction are not DDIM's, or a setting is
            unknown, which could change either.
    """
    name = str(config.get("_class_name", "a scheduler"))
    for family, meaning in OTHER_FAMILIES.items():
        if name.startswith(family):
            raise ModelError(f"{path}: {name} belongs to {meaning}; expected a Stable Diffusion model")
    check_settings(path, name, config)
    settings = {key: value for key, value in config.items() if key in NOISE_LEVELS}
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
    check_numbers(path, settings)
    spacing = settings.get("timestep_spacing", "leading")
    if spacing not in SPACINGS:
        log.info("%s: timestep_spacing=%s of %s is replaced by leading, which DDIM can invert", path, spacing, name)
        settings["timestep_spacing"] = "leading"
    if name.startswith("LCM"):
        settings[DISTILLED] = config.get(DISTILLED, 50)
        if not is_whole(settings[DISTILLED]) or not 1 <= settings[DISTILLED] <= settings.get(
            "num_train_timesteps", 1000
        ):
            raise ModelError(f"{path}: {DISTILLED}={settings[DISTILLED]!r}; expected a whole number of steps")
    # Latent diffusion never clips the predicted image; DDIM would by default where the configuration leaves it out.
    return {**settings, "clip_sample": False, "thresholding": False}


def check_settings(path: str, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a scheduler's settings that no DDIM model has.

    Raises:
        ModelError: Naming the setting.
    """
    for key, (expected, meaning) in EXPECTED.items():
        if config.get(key, expected) != expected:
            raise ModelError(f"{path}: {key}={config[key]} of {name} belongs to {meaning}; expected {key}={expected}")
    known = (*NOISE_LEVELS, *WALKS, *EXPECTED)
    unknown = sorted(key for key in config if key not in known and key[0] != "_" and config[key] not in (None, False))
    if unknown:
        raise ModelError(
            f"{path}: {name} has settings that DDIM does not know, which may change its noise levels: "
            f"{', '.join(f'{key}={config[key]}' for key in unknown)[:300]}; expected those of a Stable Diffusion model"
        )


def check_numbers(path: str, settings: Mapping[str, Any]) -> None:
    """Refuse noise levels that cannot be computed from a scheduler's settings.

    Raises:
        ModelError: Naming the setting and what is expected.
    """
    steps, offset = settings.get("num_train_timesteps", 1000), settings.get("steps_offset", 0)
    betas = settings.get("trained_betas")
    ends = settings.get("beta_start", 0.0001), settings.get("beta_end", 0.02)
    if not is_whole(steps) or not 1 <= steps <= 100_000:
        raise ModelError(f"{path}: num_train_timesteps={steps!r}; expected a whole number from 1 to 100000")
    if not is_whole(offset) or not 0 <= offset < steps:
        raise ModelError(f"{path}: steps_offset={offset!r}; expected a whole number from 0 to {steps - 1}")
    if betas is None:
        if not all(is_share(end) for end in ends) or ends[0] > ends[1]:
            raise ModelError(f"{path}: beta_start={ends[0]!r}, beta_end={ends[1]!r}; expected 0 < start <= end < 1")
    elif not isinstance(betas, list) or len(betas) != steps or not all(is_share(beta) for beta in betas):
        count = f"{len(betas)} values" if isinstance(betas, list) else repr(betas)[:60]
        raise ModelError(f"{path}: trained_betas holds {count}; expected {steps} numbers between 0 and 1")


def is_whole(value: Any) -> bool:
    """Return whether a value of a JSON file is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_share(value: Any) -> bool:
    """Return whether a value of a JSON file is a number between 0 and 1, both excluded."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1


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
    """Check that UNet, autoencoder and text encoder of one model fit each other, from their configurations alone.

    Raises:
        ModelError: Naming the two that do not fit, and the kind of model where it is a known one.
    """
    if unet.get("addition_embed_type") in ("text_time", "text_image", "image"):
        kind = "an SDXL refiner" if unet.get("cross_attention_dim") == REFINER_WIDTH else "an SDXL model"
        raise ModelError(
            f"{path} is {kind}; expected a Stable Diffusion 1.x or 2.x text-to-image model (backbone=sdxl is for SDXL)"
        )
    check_channels(path, unet, vae)
    check_width(path, unet, text.get("hidden_size"))


def check_sdxl_parts(
    path: str, unet: Mapping[str, Any], vae: Mapping[str, Any], texts: Sequence[Mapping[str, Any]]
) -> None:
    """Check that UNet, autoencoder and both text encoders of SDXL fit each other, from their configurations alone.

    Raises:
        ModelError: As ``check_parts``.
    """
    width = unet.get("cross_attention_dim")
    if unet.get("addition_embed_type") != "text_time" or width == REFINER_WIDTH:
        kind = "an SDXL refiner" if width == REFINER_WIDTH else "no SDXL model: its UNet takes no pooled text and sizes"
        raise ModelError(f"{path} is {kind}; expected an SDXL base model (sd15, sd2_base and sd21 are other backbones)")
    check_channels(path, unet, vae)
    check_width(path, unet, sum(text["hidden_size"] for text in texts))


def check_channels(path: str, unet: Mapping[str, Any], vae: Mapping[str, Any]) -> None:
    """Refuse a UNet that takes or gives other channels than the autoencoder's latents.

    Raises:
        ModelError: Naming the kind of model where it is a known one.
    """
    latent = int(vae.get("latent_channels", 4))
    channels, outputs = int(unet.get("in_channels", 4)), int(unet.get("out_channels", 4))
    if channels != latent:
        kind = INPUT_CHANNELS.get(channels, "not a plain text-to-image model")
        raise ModelError(
            f"{path} is {kind}: its UNet takes {channels} channels and its autoencoder gives {latent}; expected a "
            "text-to-image model, such as the one it was fine-tuned from"
        )
    if outputs != latent:
        raise ModelError(f"{path}: the UNet returns {outputs} channels, expected the autoencoder's {latent}")


def check_width(path: str, unet: Mapping[str, Any], given: int | None) -> None:
    """Refuse a UNet that attends to text of another width than the text encoders give.

    Raises:
        ModelError: Naming both widths.
    """
    width = unet.get("cross_attention_dim")
    widths = set(width) if isinstance(width, (list, tuple)) else {width}
    if given is not None and width is not None and widths != {given}:
        raise ModelError(
            f"{path}: the UNet attends to text of width {width} and the text encoder gives {given}; expected parts of "
            "one model"
        )
