"""What a backbone remembers for one image changes no result."""

import pytest
import torch
from toys import write_sdxl

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.backbone.stable_diffusion_xl import StableDiffusionXL
from diffharmon.embedding.null_text import NullText
from diffharmon.method.cost import Meter
from diffharmon.sampler.ddim import DDIM
from diffharmon.types import AttentionRule, Conditioning, Guidance, Inversion, StructureGuidance, ignore

RULES = (AttentionRule("cross", "replace"), AttentionRule("self", "replace", end=0.6))
LIMIT = 1 << 30


@pytest.fixture
def latent():
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def velocity(velocity_folder):
    return StableDiffusion(str(velocity_folder), size=64)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdxl")
    write_sdxl(folder)
    return StableDiffusionXL(str(folder), size=64)


def test_pooled_text_is_remembered_too(sdxl, description, latent):
    conditioning, guidance = condition(sdxl, description), Guidance(1.0)
    sampler = DDIM(steps=4, target_correction=1.0)
    memory = sdxl.remembering(LIMIT)
    results = []
    for backbone in (sdxl, memory):
        trajectory = sampler.invert(backbone, latent, conditioning, guidance, ignore)
        results.append(sampler.edit(backbone, trajectory, conditioning, guidance, RULES, ignore))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=1e-5)
    again, samples = counted(sdxl, lambda: sampler.invert(memory, latent, conditioning, guidance, ignore))
    assert samples == 0
    assert torch.equal(again.latents, trajectory.latents)


def condition(backbone, description):
    with torch.no_grad():
        texts = backbone.embed([description.foreground_prompt, description.background_prompt, ""])
    return Conditioning(*(text.expand(4) for text in texts), description, backbone.words(description))


def counted(backbone, stage):
    """Run something; returns what it gives and how many samples the network saw."""
    meter = Meter(backbone.network, backbone.device)
    with meter.stage("all"):
        result = stage()
    return result, meter.costs["all"].network_samples


@pytest.mark.parametrize("correction", [0.0, 1.0])
def test_an_edit_computes_the_edited_branch_alone_where_the_inversion_knows_the_other(
    velocity, description, latent, correction
):
    conditioning, guidance = condition(velocity, description), Guidance(1.0)
    sampler = DDIM(steps=4, inversion="level", target_correction=correction)
    memory = velocity.remembering(LIMIT)
    with memory.keeping(RULES, conditioning.foreground):
        trajectory = sampler.invert(memory, latent, conditioning, guidance)
    plain = sampler.edit(velocity, trajectory, conditioning, guidance, RULES)
    found, samples = counted(velocity, lambda: sampler.edit(memory, trajectory, conditioning, guidance, RULES))
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)
    assert samples == 4 + 1, "the source branch of the first step is no step of the inversion"
    free = sampler.edit(velocity, trajectory, conditioning, guidance)
    assert (free - plain).abs().max() > 1e-4, "the rules matter"


@pytest.mark.parametrize("limit", [LIMIT, 0])
def test_an_edit_after_null_text_optimization_knows_the_source_branch(backbone, description, latent, limit):
    conditioning, guidance = condition(backbone, description), Guidance(2.5)
    sampler, memory, mask = DDIM(steps=4, direct_inversion=False), backbone.remembering(limit), torch.ones(1, 64, 64)
    trajectory = sampler.invert(memory, latent, conditioning, Guidance(0.0))
    inversion = Inversion(torch.rand(3, 64, 64), mask, mask[:, ::4, ::4], trajectory, StructureGuidance({}, RULES))
    optimizer = NullText(guidance=2.5)
    plain = optimizer.refine(backbone, inversion, conditioning, ignore)
    with memory.keeping(RULES, conditioning.foreground):
        refined = optimizer.refine(memory, inversion, conditioning, ignore)
    assert torch.equal(refined.unconditional.tokens, plain.unconditional.tokens)
    expected = sampler.edit(backbone, trajectory, refined, guidance, RULES)
    found, samples = counted(backbone, lambda: sampler.edit(memory, trajectory, refined, guidance, RULES))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    # Without text, both branches begin alike. Where no attention is kept, the row that is followed is computed.
    assert samples == 4 * (2 if limit else 3) - 1


def test_a_row_is_known_only_for_equal_inputs(backbone, description, latent):
    memory, text = backbone.remembering(0), condition(backbone, description).foreground[0]
    time = torch.tensor(401)
    with torch.no_grad():
        first = memory.predict(latent, time, text)
        again, none = counted(backbone, lambda: memory.predict(latent, time, text))
        others = [memory.predict(latent + 1e-3, time, text), memory.predict(latent, time + 1, text)]
        longer = memory.predict(latent, time, text.map(lambda values: values * 1.01))
    assert none == 0
    assert torch.equal(first, again)
    assert all(not torch.equal(first, other) for other in (*others, longer))


def test_decoding_remembers_and_gradients_pass(backbone, latent):
    memory = backbone.remembering(0)
    both = torch.cat([latent, latent * 0.9])
    with torch.no_grad():
        torch.testing.assert_close(memory.decode(both), backbone.decode(both), atol=1e-5, rtol=0)
        assert len(memory.decoded) == 2
        memory.decode(both)
        assert len(memory.decoded) == 2
    leaf = latent.clone().requires_grad_()
    memory.decode(leaf).sum().backward()
    assert leaf.grad.abs().sum() > 0


def test_an_edit_that_is_put_back_whole_needs_no_guidance_of_the_source_branch(backbone, description, latent):
    conditioning, guidance = condition(backbone, description), Guidance(2.5)
    sampler = DDIM(steps=4)
    trajectory = sampler.invert(backbone, latent, conditioning, Guidance(0.0))
    found, samples = counted(backbone, lambda: sampler.edit(backbone, trajectory, conditioning, guidance, RULES))
    almost = DDIM(steps=4, target_correction=1e-9)  # both branches' guidance is computed
    expected, all_samples = counted(backbone, lambda: almost.edit(backbone, trajectory, conditioning, guidance, RULES))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (samples, all_samples) == (4 * 3, 4 * 4)
