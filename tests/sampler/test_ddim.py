from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.errors import ConfigError
from diffharmon.protocols import Sampler
from diffharmon.sampler.ddim import DDIM
from diffharmon.sampler.loops import edit, invert
from diffharmon.types import AttentionRule, Conditioning, Guidance, Schedule, WordSpans


@pytest.fixture
def conditioning(backbone, description):
    return condition(backbone, description)


def condition(backbone, description, steps=5):
    with torch.no_grad():
        texts = backbone.embed([description.foreground_prompt, description.background_prompt, ""])
    return Conditioning(*(text.expand(steps) for text in texts), description, backbone.words(description))


def load(folder):
    return StableDiffusion(str(folder), size=64)


@pytest.fixture(params=["pipeline_folder", "velocity_folder"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("inversion", ["mirrored", "level"])
def test_inverting_undoes_denoising_exactly_for_fixed_noise(backbone, inversion):
    schedule = DDIM(steps=7, inversion=inversion).schedule(backbone)
    latent, output = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    for step in range(7):
        back = schedule.denoise(schedule.invert(latent, output, step), output, step)
        torch.testing.assert_close(back, latent, atol=1e-4, rtol=1e-4)


def test_auto_predicts_a_velocity_at_the_level_of_the_latent_and_noise_at_the_mirrored_step(
    pipeline_folder, velocity_folder
):
    noise, velocity = (DDIM(steps=4).schedule(load(folder)) for folder in (pipeline_folder, velocity_folder))
    assert noise.timesteps.tolist() == velocity.timesteps.tolist() == [751, 501, 251, 1]
    assert noise.inversion_timesteps.tolist() == [751, 501, 251, 1]
    assert velocity.inversion_timesteps.tolist() == [501, 251, 1, 0]
    assert DDIM(steps=4, inversion="level").schedule(load(pipeline_folder)).inversion_timesteps[0] == 501


def test_sampling_equals_the_diffusers_pipeline(folder):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    backbone = load(folder)
    schedule = DDIM(steps=4).schedule(backbone)
    pipeline.scheduler = schedule.scheduler
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    theirs = pipeline(
        "cat bright",
        latents=start,
        num_inference_steps=4,
        guidance_scale=1.0,
        output_type="latent",
        height=64,
        width=64,
    ).images
    latent = start
    with torch.no_grad():
        text = backbone.embed(["cat bright"])
        for step, timestep in enumerate(schedule.timesteps):
            latent = schedule.denoise(latent, backbone.predict(latent, timestep, text), step)
    torch.testing.assert_close(latent, theirs, atol=1e-4, rtol=1e-4)


def test_the_estimate_is_the_clean_latent_behind_known_noise(schedule):
    clean, noise = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    level = schedule.scheduler.alphas_cumprod[schedule.timesteps[1]]
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    torch.testing.assert_close(schedule.estimate(noisy, noise, 1), clean, atol=1e-4, rtol=1e-4)


def test_it_implements_the_protocols(backbone, schedule):
    assert isinstance(DDIM(), Sampler)
    assert isinstance(schedule, Schedule)


def test_a_trajectory_is_in_sampling_order_and_starts_from_the_image(backbone, schedule, conditioning):
    latent = torch.randn(1, 4, 16, 16)
    trajectory = invert(backbone, schedule, latent, conditioning, Guidance(1.0))
    assert torch.equal(trajectory.latents[-1:], latent)
    assert trajectory.latents.shape == (6, 4, 16, 16)
    assert trajectory.schedule is schedule
    assert not trajectory.latents.requires_grad


def test_more_steps_reconstruct_better(folder, description):
    backbone = load(folder)
    errors = []
    for steps in (5, 40):
        sampler = DDIM(steps, direct_inversion=False)
        conditioning = condition(backbone, description, steps)
        latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        trajectory = sampler.invert(backbone, latent, conditioning, Guidance(1.0))
        source = sampler.edit(backbone, trajectory, conditioning, Guidance(1.0))[0]
        errors.append(((source - latent[0]).norm() / latent.norm()).item())
    assert errors[1] < errors[0] < 0.5


def test_direct_inversion_ends_the_source_branch_where_the_inversion_began(backbone, conditioning):
    latent = torch.randn(1, 4, 16, 16)
    ends = {}
    for direct, correction in ((False, 0.0), (True, 0.0), (True, 1.0)):
        sampler = DDIM(5, direct_inversion=direct, target_correction=correction)
        trajectory = sampler.invert(backbone, latent, conditioning, Guidance(0.0))
        ends[direct, correction] = sampler.edit(backbone, trajectory, conditioning, Guidance(2.5))
    plain, published, corrected = ends.values()
    assert torch.equal(published[0], latent[0])
    assert torch.equal(corrected[0], latent[0])
    assert not torch.equal(plain[0], latent[0])
    torch.testing.assert_close(published[1], plain[1], atol=1e-5, rtol=0)  # as published, it gets no correction
    assert not torch.equal(corrected[1], published[1])


@pytest.mark.parametrize(
    ("guidance", "followed"), [(0.0, {"unconditional"}), (1.0, {"foreground"}), (2.5, {"unconditional", "foreground"})]
)
def test_an_inversion_follows_the_foreground_prompt_as_far_as_guidance_says(
    backbone, schedule, conditioning, guidance, followed
):
    latent = torch.randn(1, 4, 16, 16)
    plain = invert(backbone, schedule, latent, conditioning, Guidance(guidance)).latents
    for prompt in ("foreground", "background", "unconditional"):
        changed = replace(conditioning, **{prompt: getattr(conditioning, prompt).map(lambda values: values.flip(1))})
        moved = not torch.equal(invert(backbone, schedule, latent, changed, Guidance(guidance)).latents, plain)
        assert moved == (prompt in followed), prompt


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_without_a_difference_in_text_both_branches_agree_under_rules(backbone, schedule, conditioning, guidance):
    same = Conditioning(
        conditioning.foreground,
        conditioning.foreground,
        conditioning.unconditional,
        conditioning.description,
        WordSpans({}, {}),
    )
    trajectory = invert(backbone, schedule, torch.randn(1, 4, 16, 16), same, Guidance(0.0))
    rules = (AttentionRule("cross", "replace"), AttentionRule("self", "replace"))
    source, edited = edit(backbone, trajectory, same, Guidance(guidance), rules)
    torch.testing.assert_close(source, edited, atol=1e-5, rtol=1e-4)


def test_rules_act_in_their_part_of_the_edit(backbone, schedule, conditioning):
    trajectory = invert(backbone, schedule, torch.randn(1, 4, 16, 16), conditioning, Guidance(0.0))
    latents = {}
    for start, end in ((0.0, 0.0), (0.0, 0.4), (0.6, 1.0)):
        events = []
        rule = AttentionRule("self", "replace", start=start, end=end)
        edit(backbone, trajectory, conditioning, Guidance(2.5), [rule], observe=events.append)
        latents[start, end] = [event.values["latents"][1] for event in events]
    never, early, late = latents.values()
    assert not torch.equal(never[0], early[0])
    assert torch.equal(never[2], late[2])
    assert not torch.equal(never[3], late[3])


def test_observers_receive_every_step(backbone, conditioning):
    events = []
    sampler = DDIM(5)
    trajectory = sampler.invert(backbone, torch.randn(1, 4, 16, 16), conditioning, Guidance(0.0), events.append)
    sampler.edit(backbone, trajectory, conditioning, Guidance(1.0), observe=events.append)
    assert [(event.stage, event.step) for event in events] == [
        *(("inversion", step) for step in range(5)),
        *(("edit", step) for step in range(5)),
    ]


def test_more_steps_than_the_model_was_trained_with_are_refused(backbone):
    with pytest.raises(ConfigError, match=r"sampler\.steps: expected 1 to 1000, got 1001"):
        DDIM(steps=1001).schedule(backbone)


def test_steps_that_the_models_offset_moves_out_of_its_range_are_refused(backbone):
    assert DDIM(steps=999).schedule(backbone).timesteps.max() < 1000
    with pytest.raises(ConfigError, match=r"sampler\.steps: expected fewer steps, 1000 reach beyond"):
        DDIM(steps=1000).schedule(backbone)  # its scheduler adds 1 to every timestep
