"""Checkpoints distilled for a few steps, and LoRA weights merged into a model."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    UNet2DConditionModel,
)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from toys import NOISE_LEVELS, write_lcm, write_sdxl, write_stable_diffusion

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.backbone.stable_diffusion_xl import StableDiffusionXL
from diffharmon.config import composed
from diffharmon.errors import ConfigError, ModelError
from diffharmon.sampler.consistency import ConsistencySchedule
from diffharmon.sampler.ddim import DDIM
from diffharmon.sampler.loops import edit, invert
from diffharmon.types import AttentionRule, Conditioning, Description, Guidance

CPU = torch.device("cpu")
REPLACE = (AttentionRule("cross", "replace"), AttentionRule("self", "replace"))


@pytest.fixture(scope="module")
def lcm(tmp_path_factory):
    return write_lcm(tmp_path_factory.mktemp("lcm"))


@pytest.fixture(scope="module")
def turbo(tmp_path_factory):
    levels = {name: value for name, value in NOISE_LEVELS.items() if name != "set_alpha_to_one"}
    scheduler = EulerAncestralDiscreteScheduler(**levels, timestep_spacing="trailing")
    return write_stable_diffusion(tmp_path_factory.mktemp("turbo"), scheduler=scheduler)


def test_consistency_models_are_sampled_on_their_own_grid(lcm):
    schedule = DDIM(4).schedule(StableDiffusion(str(lcm), size=32))
    assert isinstance(schedule, ConsistencySchedule)
    assert schedule.timesteps.tolist() == [999, 759, 499, 259]
    with pytest.raises(ConfigError, match="expected 1 to 50, which the model was distilled for, got 51"):
        DDIM(51).schedule(StableDiffusion(str(lcm), size=32))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_steps_on_the_grid_go_where_their_own_noise_and_image_say(prediction):
    settings = {**NOISE_LEVELS, "prediction_type": prediction, "original_inference_steps": 50}
    schedule = ConsistencySchedule(settings, 4, CPU)
    clean, noise = torch.randn(2, 1, 4, 8, 8)
    for step in range(4):
        (signal, share), (next_signal, next_share) = schedule.shares(step), schedule.shares(step + 1)
        output = noise if prediction == "epsilon" else signal * noise - share * clean
        latent, after = signal * clean + share * noise, next_signal * clean + next_share * noise
        torch.testing.assert_close(schedule.estimate(latent, output, step), clean, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(schedule.denoise(latent, output, step), after, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(schedule.invert(after, output, step), latent, atol=1e-4, rtol=1e-4)


def test_one_step_of_a_consistency_model_equals_the_diffusers_pipeline(lcm):
    model = StableDiffusion(str(lcm), size=32, embedded_guidance=4.0)
    pipeline = LatentConsistencyModelPipeline.from_pretrained(lcm, requires_safety_checker=False, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        "cat bright",
        latents=start,
        num_inference_steps=1,
        guidance_scale=4.0,
        output_type="latent",
        height=32,
        width=32,
    ).images
    schedule = DDIM(1).schedule(model)
    with torch.no_grad():
        output = model.predict(start, schedule.timesteps[0], model.embed(["cat bright"]))
        other = StableDiffusion(str(lcm), size=32, embedded_guidance=8.0)
        assert (other.predict(start, schedule.timesteps[0], model.embed(["cat bright"])) - output).abs().max() > 1e-6
    # Its pipeline mixes in a little of the noisy latent at the boundary (c_skip = 2.5e-9 at this level).
    torch.testing.assert_close(schedule.estimate(start, output, 0), theirs, atol=1e-3, rtol=1e-3)
    assert isinstance(pipeline.scheduler, LCMScheduler)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("kind", ["lcm", "turbo"])
def test_few_steps_invert_and_edit(kind, steps, request):
    model = StableDiffusion(str(request.getfixturevalue(kind)), size=32)
    schedule, description = DDIM(steps).schedule(model), Description("cat", ("dim",), ("bright",))
    assert schedule.timesteps[0] == 999
    with torch.no_grad():
        texts = model.embed([description.foreground_prompt, description.background_prompt, ""])
        latent = model.encode(torch.rand(1, 3, 32, 32))
    conditioning = Conditioning(*(text.expand(steps) for text in texts), description, model.words(description))
    trajectory = invert(model, schedule, latent, conditioning, Guidance(1.0))
    source, edited = edit(model, trajectory, conditioning, Guidance(1.0), REPLACE, 1.0)
    torch.testing.assert_close(source, latent[0])
    assert (edited - source).abs().max() > 1e-5


@pytest.mark.parametrize("name", ["lcm", "sd_turbo", "sdxl_turbo"])
def test_few_step_choices_take_few_steps_without_guidance(name):
    config = composed([f"backbone={name}"])
    assert (config.sampler.steps, config.method.guidance, config.method.inversion_guidance) == (4, 1, 1)


def write_lora(path, folder, prefix="unet."):
    """Write a LoRA of rank 2 on the queries of a model's UNet; returns how much it changes one of them."""
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    torch.manual_seed(0)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False))
    state = {f"{prefix}{name}": values for name, values in get_peft_model_state_dict(unet).items()}
    save_file(state, path)
    place = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = (state[f"{prefix}{place}.lora_{name}.weight"] for name in "AB")
    return up @ down


@pytest.fixture(scope="module", params=["stable_diffusion", "sdxl"])
def toy(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write, family = {
        "stable_diffusion": (write_stable_diffusion, StableDiffusion), "sdxl": (write_sdxl, StableDiffusionXL)
    }[request.param]  # fmt: skip
    write(folder)
    change = write_lora(folder / "lora.safetensors", folder)
    return SimpleNamespace(folder=folder, family=family, lora=folder / "lora.safetensors", change=change)


def test_lora_weights_are_added_by_their_share_and_leave_plain_layers(toy):
    def query(**options):
        model = toy.family(str(toy.folder), size=32, **options)
        layer = model.network.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
        assert type(layer) is torch.nn.Linear
        assert not any(parameter.requires_grad for parameter in model.parameters())
        return layer.weight

    plain = query()
    torch.testing.assert_close(query(lora=[str(toy.lora)]), plain + toy.change)
    half = query(lora=[str(toy.lora)] * 2, lora_weights=[0.25, 0.5])
    torch.testing.assert_close(half, plain + 0.75 * toy.change)


def test_lora_settings_that_cannot_be_used_are_refused(toy, tmp_path):
    wrong = tmp_path / "wrong.safetensors"
    save_file({"unet.conv_in.lora_A.weight": torch.ones(2, 3), "unet.conv_in.lora_B.weight": torch.ones(8, 2)}, wrong)
    save_file({"something": torch.ones(2)}, tmp_path / "other.safetensors")
    for name in (wrong, tmp_path / "other.safetensors"):
        with pytest.raises(ModelError, match="cannot be added"):
            toy.family(str(toy.folder), size=32, lora=[str(name)])
    with pytest.raises(ModelError, match="does not exist"):
        toy.family("nowhere", lora=[str(tmp_path / "none.safetensors")])
    with pytest.raises(ConfigError, match="expected one for each of 1 LoRAs, got 2"):
        toy.family("nowhere", lora=[str(toy.lora)], lora_weights=[1.0, 2.0])
