from dataclasses import replace

import pytest
import torch

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.backbone.tokens import word_positions
from diffharmon.sampling import edit, edit_rows, invert, predict_guided
from diffharmon.types import AttentionRule, Conditioning, WordSpans


@pytest.fixture
def conditioning(backbone, description):
    return condition(backbone, description)


def condition(backbone, description):
    with torch.no_grad():
        texts = backbone.embed([description.foreground_prompt, description.background_prompt, ""])
    steps = len(backbone.timesteps)
    return Conditioning(
        *(text.expand(steps, -1, -1) for text in texts[:, None]), description, backbone.words(description)
    )


def test_guidance_zero_and_one_are_the_two_branches(backbone, conditioning):
    latent = torch.randn(1, 4, 16, 16)
    without, with_text = conditioning.unconditional[:1], conditioning.foreground[:1]
    with torch.no_grad():
        branches = [backbone.predict(latent, 1, text) for text in (without, with_text)]
        for guidance, branch in zip((0.0, 1.0), branches, strict=True):
            guided = predict_guided(backbone, latent, 1, without, with_text, guidance)
            assert torch.equal(guided, branch)
        mixed = predict_guided(backbone, latent, 1, without, with_text, 2.5)
    torch.testing.assert_close(mixed, branches[0] + 2.5 * (branches[1] - branches[0]), atol=1e-5, rtol=1e-4)


def test_a_trajectory_is_in_sampling_order_and_starts_from_the_image(backbone, conditioning):
    latent = torch.randn(1, 4, 16, 16)
    trajectory = invert(backbone, latent, conditioning, 1.0)
    assert torch.equal(trajectory.latents[-1:], latent)
    assert trajectory.latents.shape == (6, 4, 16, 16)
    assert torch.equal(trajectory.timesteps, backbone.timesteps)
    assert not trajectory.latents.requires_grad


@pytest.mark.parametrize(
    ("guidance", "followed"), [(0.0, {"unconditional"}), (1.0, {"foreground"}), (2.5, {"unconditional", "foreground"})]
)
def test_an_inversion_follows_the_foreground_prompt_as_far_as_guidance_says(backbone, conditioning, guidance, followed):
    latent = torch.randn(1, 4, 16, 16)
    plain = invert(backbone, latent, conditioning, guidance).latents
    for prompt in ("foreground", "background", "unconditional"):
        changed = replace(conditioning, **{prompt: getattr(conditioning, prompt).flip(1)})
        moved = not torch.equal(invert(backbone, latent, changed, guidance).latents, plain)
        assert moved == (prompt in followed), prompt


@pytest.mark.parametrize("folder", ["pipeline_folder", "velocity_folder"])
def test_more_steps_reconstruct_better(folder, request, description):
    errors = []
    for steps in (5, 40):
        backbone = StableDiffusion(str(request.getfixturevalue(folder)), size=64, steps=steps)
        conditioning = condition(backbone, description)
        latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        trajectory = invert(backbone, latent, conditioning, 1.0)
        with backbone.attention(()) as store:
            source = edit(backbone, trajectory, conditioning, 1.0, store)[0]
        errors.append(((source - latent[0]).norm() / latent.norm()).item())
    assert errors[1] < errors[0] < 0.5


def test_an_anchored_source_branch_ends_where_the_inversion_began(backbone, conditioning):
    latent = torch.randn(1, 4, 16, 16)
    trajectory = invert(backbone, latent, conditioning, 0.0)
    ends = {}
    for anchor in (None, 0.0, 1.0):
        with backbone.attention(()) as store:
            ends[anchor] = edit(backbone, trajectory, conditioning, 2.5, store, anchor)
    assert torch.equal(ends[0.0][0], latent[0])
    assert not torch.equal(ends[None][0], latent[0])
    assert torch.equal(ends[0.0][1], ends[None][1])  # as published, the edited branch is left alone
    assert not torch.equal(ends[1.0][1], ends[0.0][1])


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_without_a_difference_in_text_both_branches_agree_under_control(backbone, conditioning, guidance):
    same = Conditioning(
        conditioning.foreground,
        conditioning.foreground,
        conditioning.unconditional,
        conditioning.description,
        WordSpans({}, {}),
    )
    trajectory = invert(backbone, torch.randn(1, 4, 16, 16), same, 0.0)
    rules = (AttentionRule("cross", "replace"), AttentionRule("self", "replace"))
    with backbone.attention(rules, edit_rows(guidance)) as store:
        source, edited = edit(backbone, trajectory, same, guidance, store)
    torch.testing.assert_close(source, edited, atol=1e-5, rtol=1e-4)


def test_observers_see_every_step(backbone, conditioning):
    events = []
    trajectory = invert(backbone, torch.randn(1, 4, 16, 16), conditioning, 0.0, events.append)
    with backbone.attention(()) as store:
        edit(backbone, trajectory, conditioning, 1.0, store, observe=events.append)
    assert [(event.stage, event.step) for event in events] == [
        *(("inversion", step) for step in range(5)),
        *(("edit", step) for step in range(5)),
    ]
    assert word_positions(backbone.tokenizer, "cat dim cold", 3) == {"dim": (2,), "cold": (3,)}
