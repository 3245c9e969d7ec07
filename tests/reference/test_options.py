"""The public code's deviations as options: off they change nothing, on each does what its table row says."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from diffharmon.config import composed
from diffharmon.config.signatures import parameters_of
from diffharmon.describer.fixed import Fixed
from diffharmon.embedding.null_text import NullText
from diffharmon.embedding.text_refine import TextRefine
from diffharmon.errors import ConfigError
from diffharmon.evaluator.none import NoEvaluator
from diffharmon.method.diffusion import Diffusion
from diffharmon.method.policy import Policy
from diffharmon.recomposer.paste import Paste
from diffharmon.reference.ddim import ReferenceDDIM
from diffharmon.reference.diffusion import ReferenceDiffusion
from diffharmon.reference.edges import ReferenceEdgeLoss
from diffharmon.reference.null_text import ReferenceNullText
from diffharmon.reference.quirks import QUIRKS, off
from diffharmon.reference.stable_diffusion import ReferenceStableDiffusion
from diffharmon.reference.text_refine import ReferenceTextRefine
from diffharmon.sampler.ddim import DDIM
from diffharmon.structure.edges import EdgeLoss
from diffharmon.structure.sobel import Sobel
from diffharmon.types import ignore


@pytest.fixture
def edged(inversion, composite):
    return replace(inversion, structure=EdgeLoss(Sobel(), weight=50.0).guide(composite, (64, 64)))


@pytest.fixture
def several(backbone, conditioning):
    """Conditioning with three background words."""
    turned = replace(conditioning.description, background=("dim", "cold", "warm"))
    return replace(conditioning, description=turned, words=backbone.words(turned))


def drifting(tokens):
    """Tokens that differ from step to step."""
    return tokens + torch.arange(5.0)[:, None, None] * 0.3


def refined(optimizer, backbone, inversion, conditioning):
    result = optimizer.refine(backbone, inversion, conditioning, ignore)
    return torch.stack([text.tokens for text in (result.foreground, result.background, result.unconditional)])


@pytest.mark.parametrize(
    ("clean", "reference", "options"),
    [
        (
            TextRefine(divisor=8, learning_rate=0.05),
            ReferenceTextRefine(divisor=8, learning_rate=0.05),
            {"latents": "denoised", "weighting": "softmax_again"},
        ),
        (NullText(2.5), ReferenceNullText(2.5), {"edges_on": "step", "stale_first": True}),
    ],
)
def test_without_options_an_optimizer_is_the_clean_one_and_each_option_acts(
    backbone, edged, several, clean, reference, options
):
    moving = replace(several, foreground=several.foreground.map(drifting))
    conditioning = several if isinstance(clean, TextRefine) else moving
    expected = refined(clean, backbone, edged, conditioning)
    assert torch.equal(refined(reference, backbone, edged, conditioning), expected)
    for name, value in options.items():
        changed = replace(reference, **{name: value})
        assert not torch.equal(refined(changed, backbone, edged, conditioning), expected), name


def test_the_first_step_has_no_step_before(backbone, inversion, conditioning):
    moving = replace(conditioning, foreground=conditioning.foreground.map(drifting))
    fresh = NullText(2.5).refine(backbone, inversion, moving, ignore)
    stale = ReferenceNullText(2.5, stale_first=True).refine(backbone, inversion, moving, ignore)
    assert torch.equal(fresh.unconditional[0].tokens, stale.unconditional[0].tokens)
    assert not torch.equal(fresh.unconditional[1].tokens, stale.unconditional[1].tokens)


def test_a_mask_without_antialiasing_is_read_in_the_middle_of_each_cell():
    stripes = torch.zeros(1, 16, 16)
    stripes[0, 0::4] = stripes[0, 3::4] = 1  # half of each cell, but not the two rows in its middle
    with_it, without = (ReferenceTextRefine(mask_antialias=on).attention_mask(stripes, (4, 4)) for on in (True, False))
    assert with_it[0].all()
    assert not without[0].any()


def test_repeated_softmax_draws_the_weights_to_uniform_after_every_update(backbone, inversion, several):
    events = []
    optimizer = ReferenceTextRefine(divisor=8, learning_rate=0.1, weighting="softmax_again")
    optimizer.refine(backbone, inversion, several, events.append)
    learnt = [event.values["words_weights"] for event in events if "words_weights" in event.values]
    # AdamW moves a weight by about the learning rate, here from the softmax of what it was.
    for before, after in pairwise(learnt):
        assert (after - before.softmax(dim=0)).abs().max() < 0.15


def test_repeated_softmax_fuses_by_the_weights_themselves(backbone, inversion, several):
    optimizer = ReferenceTextRefine(divisor=8, learning_rate=0.5, weighting="softmax_again")
    events = []
    fused = optimizer.refine(backbone, inversion, several, events.append)
    apart = replace(optimizer, fuse=False).refine(backbone, inversion, several, ignore)
    learnt = [event.values["words_weights"] for event in events if "words_weights" in event.values][1::2]
    torch.testing.assert_close(optimizer.initial_words(backbone, several).weights, torch.full((3,), 1 / 3))
    for step, weights in enumerate(learnt):
        expected = (weights.softmax(dim=0)[:, None] * apart.background.tokens[step, 2:5]).sum(dim=0)
        torch.testing.assert_close(fused.background.tokens[step, 3], expected, atol=1e-4, rtol=1e-4)


def test_denoised_latents_leave_the_inversion(backbone, inversion, conditioning):
    events = []
    ReferenceTextRefine(divisor=8, latents="denoised").refine(backbone, inversion, conditioning, events.append)
    reached = [event.values["latent"] for event in events if "latent" in event.values]
    assert len(reached) == 5
    assert not torch.allclose(reached[-1][0], inversion.trajectory.latents[-1], atol=1e-3)


def test_the_signed_range_doubles_the_target(composite):
    flat = torch.zeros(1, 3, 64, 64)
    unit, signed = (
        ReferenceEdgeLoss(Sobel(), reference_range=name).guide(composite, (64, 64)).losses["edges"](flat)
        for name in ("unit", "signed")
    )
    assert unit == EdgeLoss(Sobel()).guide(composite, (64, 64)).losses["edges"](flat)
    assert signed / unit == pytest.approx(4, rel=0.1)  # all but the small constant under the root


def test_a_detached_loss_is_reported_without_a_gradient(composite):
    decoded = torch.rand(1, 3, 64, 64, requires_grad=True)
    attached, detached = (
        ReferenceEdgeLoss(Sobel(), detach=on).guide(composite, (64, 64)).losses["edges"](decoded)
        for on in (False, True)
    )
    assert detached == attached
    assert attached.requires_grad
    assert not detached.requires_grad


def method(backbone, kind=ReferenceDiffusion, **changes):
    parts = {
        "describer": Fixed("cat", "dim cold", "bright"),
        "backbone": backbone,
        "sampler": DDIM(steps=5, direct_inversion=False),
        "embedding": {},
        "structure": {},
        "recomposer": Paste(),
        "evaluator": NoEvaluator(),
        "policy": Policy(iterations=1, ties="last"),
    }
    return kind(**{**parts, **changes})


def test_the_public_codes_method_refuses_what_the_clean_one_refuses():
    clean, reference = parameters_of(Diffusion), parameters_of(ReferenceDiffusion)
    assert {name: reference[name] for name in clean} == clean


def test_without_options_the_method_is_the_clean_one(backbone, composite):
    images = [
        method(backbone, kind).harmonize(composite, ignore).best.image for kind in (Diffusion, ReferenceDiffusion)
    ]
    assert torch.equal(*images)


def test_sampling_the_posterior_follows_the_seed(backbone, composite):
    sampled = method(backbone, sample_posterior=True, seed=5)
    first, second = (sampled.harmonize(composite, ignore).best.image for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, method(backbone).harmonize(composite, ignore).best.image)
    assert not torch.equal(
        first, method(backbone, sample_posterior=True, seed=6).harmonize(composite, ignore).best.image
    )
    assert sampled.image_seed("a") != sampled.image_seed("b")
    assert method(backbone, seed_by_name=False, seed=5).image_seed("a") == 5


def test_at_model_resolution_everything_is_square_and_cut_to_8_bits(backbone, composite):
    squashed = method(backbone, resolution="model", truncate=True).harmonize(composite, ignore).best.image
    assert squashed.shape == (3, 64, 64)
    levels = squashed * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


def test_the_structure_of_the_current_image_drifts(backbone, composite):
    images = {}
    for source in ("composite", "current"):
        chosen = method(
            backbone,
            sampler=DDIM(steps=2, direct_inversion=False),
            embedding={"unconditional": NullText(guidance=2.5)},
            structure={"sobel": EdgeLoss(Sobel(), weight=100.0)},
            structure_from=source,
            policy=Policy(iterations=2, ties="last"),
        )
        images[source] = [attempt.image for attempt in chosen.harmonize(composite, ignore).attempts]
    assert torch.equal(images["composite"][1], images["current"][1])
    assert not torch.equal(images["composite"][2], images["current"][2])


def test_a_shifted_inversion_is_not_undone_by_denoising(backbone):
    schedule = ReferenceDDIM(steps=7, shifted=True).schedule(backbone)
    assert len(schedule.timesteps) == 6
    latent, output = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    back = schedule.denoise(schedule.invert(latent, output, 3), output, 3)
    assert (back - latent).norm() / latent.norm() > 0.01
    plain = ReferenceDDIM(steps=7).schedule(backbone)
    torch.testing.assert_close(plain.denoise(plain.invert(latent, output, 3), output, 3), latent, atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match="at least 2"):
        ReferenceDDIM(steps=1, shifted=True).schedule(backbone)


def test_encoding_channels_last_changes_the_layout_only(backbone, pipeline_folder):
    other = ReferenceStableDiffusion(channels_last=True, path=str(pipeline_folder), size=64)
    image, layouts = torch.rand(1, 3, 64, 64), []
    handle = other.vae.encoder.register_forward_pre_hook(lambda module, given: layouts.append(given[0].stride(1)))
    with torch.no_grad():
        torch.testing.assert_close(other.encode(image), backbone.encode(image), atol=1e-5, rtol=1e-4)
    handle.remove()
    assert layouts == [1]


@pytest.fixture(scope="module")
def experiments():
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        return {name: compose("config", overrides=[f"experiment={name}"]) for name in ("paper", "reference_quirks")}


def test_the_experiment_switches_every_quirk_on(experiments):
    for quirk in QUIRKS:
        assert OmegaConf.select(experiments["reference_quirks"], quirk.key) == quirk.value, quirk
        assert OmegaConf.select(experiments["paper"], quirk.key) != quirk.value, quirk


# Quirks that are values of settings which the method has anyway.
PLAIN = ("method.descriptions", "method.policy.redescribe", "method.policy.include_composite")


@pytest.mark.parametrize("quirk", [quirk for quirk in QUIRKS if quirk.key not in PLAIN], ids=lambda quirk: quirk.key)
def test_a_quirk_outside_its_experiment_is_refused_with_the_experiments_name(quirk):
    with pytest.raises(ConfigError, match=f"^{quirk.key}: unknown key; experiment=reference_quirks is meant$"):
        composed(["experiment=paper", f"{quirk.key}={quirk.value}"])


@pytest.mark.parametrize("quirk", QUIRKS, ids=[f"{quirk.number} {quirk.key}" for quirk in QUIRKS])
def test_every_quirk_is_switched_off_by_one_override(experiments, quirk):
    config = composed(["experiment=reference_quirks", "evaluator=none", off(quirk, experiments["paper"])])
    assert OmegaConf.select(config, quirk.key) != quirk.value


def test_every_option_of_the_reference_classes_is_in_the_table():
    options = {
        field.name
        for reference, clean in (
            (ReferenceTextRefine, TextRefine),
            (ReferenceNullText, NullText),
            (ReferenceEdgeLoss, EdgeLoss),
            (ReferenceDDIM, DDIM),
        )
        for field in fields(reference)
        if field.name not in {known.name for known in fields(clean)}
    }
    options |= set(ReferenceStableDiffusion.__init__.__annotations__) - {"arguments", "return"}
    options |= set(ReferenceDiffusion.__init__.__annotations__) - set(Diffusion.__init__.__annotations__)
    assert options <= {quirk.key.rsplit(".", 1)[1] for quirk in QUIRKS}
