import pytest
import torch

from diffharmon.backbone.compatibility import check_noise_levels, check_parts, ddim_settings
from diffharmon.errors import ModelError

UNET = {"in_channels": 4, "out_channels": 4, "cross_attention_dim": 768}
VAE, TEXT = {"latent_channels": 4}, {"hidden_size": 768}


def test_eulers_linspace_spacing_is_adapted():
    given = {"_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "timestep_spacing": "linspace"}
    assert ddim_settings("m", given)["timestep_spacing"] == "leading"
    assert ddim_settings("m", {**given, "timestep_spacing": "trailing"})["timestep_spacing"] == "trailing"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow-matching"),
        ({"_class_name": "EDMEulerScheduler"}, "EDM"),
        ({"_class_name": "TCDScheduler"}, "trajectory consistency"),
        ({"_class_name": "LCMScheduler", "original_inference_steps": 0}, "original_inference_steps=0"),
        ({"prediction_type": "sample"}, "predicts epsilon or v, got 'sample'"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule='sigmoid'"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr with prediction_type=epsilon"),
        ({"use_flow_sigmas": True}, "use_flow_sigmas=True of a scheduler belongs to a flow-matching model"),
        ({"timestep_type": "continuous"}, "continuous noise levels"),
        ({"predict_epsilon": False}, "predicts the image"),
        ({"_class_name": "CogVideoXDDIMScheduler", "snr_shift_scale": 3.0}, "does not know, .*snr_shift_scale=3.0"),
        ({"sigma_data": 0.5, "s_churn": 80}, "s_churn=80, sigma_data=0.5"),
        ({"num_train_timesteps": 0}, "num_train_timesteps=0; expected a whole number"),
        ({"num_train_timesteps": "1000"}, "num_train_timesteps='1000'"),
        ({"steps_offset": 1000}, "steps_offset=1000; expected a whole number from 0 to 999"),
        ({"beta_start": 0.02, "beta_end": 0.01}, "expected 0 < start <= end < 1"),
        ({"beta_end": float("nan")}, "beta_end=nan"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas holds 2 values; expected 1000 numbers"),
        ({"trained_betas": [2.0] * 1000}, "expected 1000 numbers between 0 and 1"),
        ({"trained_betas": "betas.json"}, "trained_betas holds 'betas.json'"),
    ],
)
def test_a_scheduler_of_another_kind_is_refused_by_name(config, message):
    with pytest.raises(ModelError, match=message):
        ddim_settings("m", config)


def test_how_another_scheduler_walks_is_dropped_and_its_noise_levels_stay():
    given = {
        "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.30.0", "beta_start": 0.00085,
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "use_karras_sigmas": True, "solver_order": 2,
        "steps_offset": 1, "trained_betas": [0.01] * 1000, "future_setting": None,
    }  # fmt: skip
    settings = ddim_settings("m", given)
    assert {key: settings[key] for key in ("beta_start", "steps_offset", "trained_betas")} == {
        "beta_start": 0.00085, "steps_offset": 1, "trained_betas": [0.01] * 1000,
    }  # fmt: skip
    assert not {"use_karras_sigmas", "solver_order", "future_setting", "_class_name"} & set(settings)
    assert settings["clip_sample"] is False


def test_zero_terminal_signal_needs_a_velocity_model():
    ddim_settings("m", {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"})
    check_noise_levels("m", torch.tensor([0.9, 0.0]), "v_prediction")
    check_noise_levels("m", torch.tensor([0.9, 0.005]), "epsilon")
    with pytest.raises(ModelError, match="zero signal"):
        check_noise_levels("m", torch.tensor([0.9, 0.0]), "epsilon")


def test_parts_that_fit_pass():
    check_parts("m", UNET, VAE, TEXT)
    check_parts("m", {**UNET, "cross_attention_dim": [768, 768]}, VAE, TEXT)


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        ({"in_channels": 9}, "inpainting"),
        ({"in_channels": 8}, "instruction-editing"),
        ({"in_channels": 5}, "depth"),
        ({"in_channels": 6}, "not a plain text-to-image model"),
        ({"out_channels": 8}, "returns 8 channels"),
        ({"cross_attention_dim": 1024}, "width 1024 and the text encoder gives 768"),
        ({"addition_embed_type": "text_time", "cross_attention_dim": 1280}, "SDXL refiner"),
        ({"addition_embed_type": "text_time", "cross_attention_dim": 2048}, "an SDXL model"),
    ],
)
def test_models_of_another_kind_are_named(unet, message):
    with pytest.raises(ModelError, match=message):
        check_parts("m", {**UNET, **unet}, VAE, TEXT)
