"""Samplers that work on noise predictions, velocities and rectified flows alike."""

import pytest
import torch
from toys import write_sd3

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.backbone.stable_diffusion_3 import StableDiffusion3
from diffharmon.config import build, composed
from diffharmon.errors import ConfigError
from diffharmon.protocols import Sampler
from diffharmon.sampler.any_schedule import schedule_of
from diffharmon.sampler.ddim import DDIM
from diffharmon.sampler.flow import FlowEuler, FlowSchedule
from diffharmon.sampler.flow_edit import FlowEdit
from diffharmon.sampler.uni_inversion import UniInversion
from diffharmon.types import AttentionRule, Conditioning, Guidance

STEPS = 6
KINDS = ("epsilon", "velocity", "flow")
REPLACE = (AttentionRule("cross", "replace"), AttentionRule("self", "replace"))


@pytest.fixture(scope="module")
def models(pipeline_folder, velocity_folder, tmp_path_factory):
    sd3 = write_sd3(tmp_path_factory.mktemp("sd3"))
    return {
        "epsilon": StableDiffusion(str(pipeline_folder), size=32),
        "velocity": StableDiffusion(str(velocity_folder), size=32),
        "flow": StableDiffusion3(str(sd3), size=32),
    }


@pytest.fixture(params=KINDS)
def model(request, models):
    return models[request.param]


@pytest.fixture
def latent(model):
    torch.manual_seed(0)
    return model.encode(torch.rand(1, 3, 32, 32))


@pytest.fixture
def conditioning(model, description):
    with torch.no_grad():
        texts = model.embed([description.foreground_prompt, description.background_prompt, ""])
    return Conditioning(*(text.expand(STEPS) for text in texts), description, model.words(description))


def same_words(conditioning):
    return Conditioning(
        *(conditioning.foreground,) * 2, conditioning.unconditional, conditioning.description, conditioning.words
    )


def test_shares_are_those_of_the_models_own_noise(model, latent):
    schedule, noise = schedule_of(model, STEPS), torch.randn_like(latent)
    outputs = {
        "epsilon": lambda signal, share: noise,
        "v_prediction": lambda signal, share: signal * noise - share * latent,
        "flow": lambda signal, share: noise - latent,
    }
    for step in range(STEPS):
        signal, share = schedule.shares(step)
        output = outputs[model.noise_schedule["prediction_type"]](signal, share)
        estimate = schedule.estimate(signal * latent + share * noise, output, step)
        torch.testing.assert_close(estimate, latent, atol=1e-3, rtol=1e-3)
    assert schedule.shares(STEPS)[0] > 0.999


@pytest.mark.parametrize("sampler", [UniInversion(STEPS), FlowEdit(STEPS)])
def test_they_are_samplers(sampler, model):
    assert isinstance(sampler, Sampler)
    with pytest.raises(ConfigError, match=r"sampler\.steps: expected 1 to 1000"):
        type(sampler)(steps=2000).schedule(model)


def test_a_corrected_inversion_is_undone_more_exactly_than_a_plain_one(model, latent, conditioning):
    plain = FlowEuler(STEPS) if model.noise_schedule["prediction_type"] == "flow" else DDIM(STEPS)
    errors = []
    for sampler in (plain, UniInversion(STEPS)):
        inverted = sampler.invert(model, latent, conditioning, Guidance(1.0))
        unpinned = type(sampler)(STEPS, direct_inversion=False)
        source, _ = unpinned.edit(model, inverted, conditioning, Guidance(1.0))
        errors.append((source - latent[0]).norm())
    assert errors[1] < errors[0] * (0.1 if isinstance(plain, FlowEuler) else 1)


def test_equal_prompts_change_nothing_without_inversion(model, latent, conditioning):
    sampler = FlowEdit(STEPS, start=0.0)
    trajectory = sampler.invert(model, latent, conditioning, Guidance(1.0))
    edited = sampler.edit(model, trajectory, same_words(conditioning), Guidance(2.5), REPLACE)
    torch.testing.assert_close(edited, latent.expand(2, -1, -1, -1), atol=1e-4, rtol=1e-4)
    source, other = sampler.edit(model, trajectory, conditioning, Guidance(2.5))
    assert torch.equal(source, latent[0])
    assert (other - source).abs().max() > 1e-4


def test_linear_noise_gives_the_published_update(models, description):
    model = models["flow"]
    latent = model.encode(torch.rand(1, 3, 32, 32))
    with torch.no_grad():
        texts = model.embed([description.foreground_prompt, description.background_prompt, ""])
    conditioning = Conditioning(*(text.expand(STEPS) for text in texts), description, model.words(description))
    sampler = FlowEdit(STEPS, start=0.4, seed=3)
    trajectory = sampler.invert(model, latent, conditioning, Guidance(1.0))
    schedule, edited = trajectory.schedule, latent
    for step in range(2, STEPS):  # algorithm 1 of the paper, with velocities of the foreground and background prompts
        noised = trajectory.latents[step, None]
        with torch.no_grad():
            there, here = (
                model.predict(at, schedule.timesteps[step], text)
                for at, text in ((edited + noised - latent, texts[1]), (noised, texts[0]))
            )
        edited = edited + (schedule.levels[step + 1] - schedule.levels[step]) * (there - here)
    ours = sampler.edit(model, trajectory, conditioning, Guidance(1.0))[1:]
    torch.testing.assert_close(ours, edited, atol=1e-5, rtol=1e-4)


def test_noise_follows_the_seed_and_leaves_the_image_at_the_clean_end(model, latent, conditioning):
    first, again, other = (
        FlowEdit(STEPS, seed=seed).invert(model, latent, conditioning, Guidance(0.0)).latents for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert torch.equal(first[-1:], latent)
    assert (first[:-1] - other[:-1]).abs().amax(dim=(1, 2, 3)).min() > 0


def test_null_text_without_an_inversion_is_refused_before_loading():
    overrides = ["sampler=flowedit", "method.guidance=2", "backbone.path=/nowhere"]
    with pytest.raises(ConfigError, match=r"embedding\.unconditional: NullText needs a sampler that inverts"):
        build(composed([*overrides, "embedding=[null_text]"]).method)


@pytest.mark.parametrize("sampler", ["uni_inversion", "flowedit"])
def test_they_harmonize_through_the_command(sampler, toy_settings, tmp_path, call_command):
    quick = ("sampler.steps=3", "trainer=cpu", "metrics=[full]", "output=minimal", "method.guidance=2")
    done = call_command(tmp_path / "run", f"sampler={sampler}", *toy_settings, *quick)
    assert done.returncode == 0, done.stderr


def test_a_flow_takes_no_more_steps_than_it_was_trained_with():
    noise_schedule = {"num_train_timesteps": 4, "shift": 3.0, "timestep_spacing": "linspace"}
    assert len(FlowSchedule(noise_schedule, 4, torch.device("cpu")).timesteps) == 4
    with pytest.raises(ConfigError, match="expected 1 to 4, got 5"):
        FlowSchedule(noise_schedule, 5, torch.device("cpu"))
