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
        ({"_class_name": "LCMScheduler"}, "latent consistency"),
        ({"prediction_type": "sample"}, "predicts epsilon or v, got 'sample'"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule='sigmoid'"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr with prediction_type=epsilon"),
    ],
)
def test_a_scheduler_of_another_kind_is_refused_by_name(config, message):
    with pytest.raises(ModelError, match=message):
        ddim_settings("m", config)


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
