from dataclasses import dataclass, replace

import pytest
import torch

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.describer.fixed import Fixed
from diffharmon.embedding.null_text import NullText
from diffharmon.embedding.text_refine import TextRefine
from diffharmon.errors import InputError
from diffharmon.method.policy import Policy
from diffharmon.recomposer.detail import Detail
from diffharmon.recomposer.feather import Feather
from diffharmon.recomposer.paste import Paste
from diffharmon.sampler.ddim import DDIM
from diffharmon.structure.attention import CrossAttention, SelfAttention
from diffharmon.structure.edges import EdgeLoss
from diffharmon.structure.sobel import Sobel
from diffharmon.types import Composite, Event, Outcome, ignore


@dataclass(frozen=True)
class Harmonized:
    """What one harmonization gave and reported, and whether it wrote to its input."""

    composite: Composite
    outcome: Outcome
    events: tuple[Event, ...]
    written: bool


@pytest.fixture(scope="module")
def paper(build_method, toy_composite):
    """The whole method, run once for all that is seen on it."""
    method = build_method(
        embedding={"text": TextRefine(divisor=8), "unconditional": NullText(guidance=2.5, updates_every=3)},
        structure={
            "cross_attention": CrossAttention(),
            "self_attention": SelfAttention(),
            "sobel": EdgeLoss(Sobel()),
        },
        policy=Policy(iterations=2, ties="last"),
    )
    before, events = (toy_composite.image.clone(), toy_composite.mask.clone()), []
    outcome = method.harmonize(toy_composite, events.append)
    same = torch.equal(toy_composite.image, before[0]) and torch.equal(toy_composite.mask, before[1])
    return Harmonized(toy_composite, outcome, tuple(events), not same)


def test_the_whole_method_runs_at_full_size_and_leaves_the_background(paper):
    composite, outcome = paper.composite, paper.outcome
    image = outcome.best.image
    assert image.shape == composite.image.shape
    background = (composite.mask == 0).expand(3, -1, -1)
    assert torch.equal(image[background], composite.image[background])
    assert not torch.equal(image, composite.image)
    assert image.isfinite().all()
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 1]
    assert set(outcome.best.words) == {"foreground dim", "foreground cold", "background bright"}


def test_the_same_image_comes_out_byte_for_byte_and_seeds_differ_by_name(method, composite):
    plain = method()
    first, second = (plain.harmonize(composite, ignore).best.image for _ in range(2))
    assert torch.equal(first, second)
    assert plain.image_seed("a") != plain.image_seed("b")
    assert plain.image_seed("a") != method(seed=1).image_seed("a")


def test_the_ground_truth_is_never_seen(method, composite):
    class Watching(Fixed):
        def describe(self, composite, previous=()):
            assert composite.real is None
            return super().describe(composite, previous)

    watched = method(describer=Watching("cat", "dim", "bright"))
    blind = watched.harmonize(replace(composite, real=None), ignore)
    assert torch.equal(watched.harmonize(composite, ignore).best.image, blind.best.image)


def test_the_input_is_not_written_to(paper):
    assert not paper.written


def test_each_iteration_starts_from_the_former_result(method, composite):
    seen = []

    class Recording(Paste):
        def recompose(self, composite, current, edited):
            seen.append(current)
            return super().recompose(composite, current, edited)

    twice = method(recomposer=Recording(), policy=Policy(iterations=3, ties="last"))
    outcome = twice.harmonize(composite, ignore)
    assert seen[0] is outcome.attempts[0].image
    assert seen[1] is outcome.attempts[1].image
    assert seen[2] is outcome.attempts[2].image


def test_each_iteration_inverts_the_former_result(paper):
    latents = [event.values["latent"] for event in paper.events if event.stage == "inversion"]
    first, second = latents[: len(latents) // 2], latents[len(latents) // 2 :]
    assert len(first) == len(second) == 5
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_structure_kept_is_the_photos_in_every_iteration(method, composite):
    seen = []

    class Recording(SelfAttention):
        def guide(self, composite, size):
            seen.append(composite.image)
            return super().guide(composite, size)

    twice = method(structure={"self": Recording()}, policy=Policy(iterations=2, ties="last"))
    twice.harmonize(composite, ignore)
    assert len(seen) == 2
    assert all(torch.equal(image, composite.image) for image in seen)


@pytest.fixture(scope="module")
def fitting(pipeline_folder):
    return StableDiffusion(str(pipeline_folder), size=64, canvas="fit")


@pytest.mark.parametrize("recomposer", [Paste(), Feather(), Detail()])
def test_a_fitted_canvas_works_from_end_to_end(method, fitting, composite, recomposer):
    whole = method(
        backbone=fitting,
        embedding={"text": TextRefine(divisor=8), "unconditional": NullText(guidance=2.5)},
        structure={
            "cross_attention": CrossAttention(),
            "self_attention": SelfAttention(),
            "sobel": EdgeLoss(Sobel()),
        },
        recomposer=recomposer,
    )
    best = whole.harmonize(composite, ignore).best
    assert best.edited.edited.shape == (3, 56, 80)
    assert best.image.shape == composite.image.shape
    assert torch.equal(best.image[:, composite.mask[0] == 0], composite.image[:, composite.mask[0] == 0])
    assert best.image.isfinite().all()
    assert {maps.shape for maps in best.words.values()} == {(14, 20)}


def test_a_square_photo_is_the_same_on_both_canvases(method, backbone, fitting, composite):
    square = replace(composite, image=composite.image[:, :, 12:60], mask=composite.mask[:, :, 12:60], real=None)
    images = [method(backbone=model).harmonize(square, ignore).best.image for model in (backbone, fitting)]
    assert torch.equal(*images)


def test_costs_are_counted_by_stage(paper):
    costs = paper.outcome.costs
    calls = {stage: cost.network_calls for stage, cost in costs.items()}
    updates = 1 + 1 + 1 + 2 + 2
    assert calls["inversion"] == 2 * 5
    assert calls["text"] == 2 * 2 * 5
    assert calls["unconditional"] == 2 * (5 + updates + 5)
    assert calls["edit"] == 2 * 5
    # Null-text optimization knows the source branch, and without text both branches begin alike.
    assert costs["edit"].network_samples == 2 * (5 * 2 - 1)
    assert costs["words"].network_samples == 2, "of the result's words"
    assert calls["evaluate"] == calls["recompose"] == 0
    assert all(cost.seconds >= 0 for cost in costs.values())


def test_one_pass_needs_nobody_watching(method, composite):
    plain = method()
    description = plain.describer.describe(composite)
    alone = plain.attempt(plain.canvas(composite), composite.image, description)
    assert torch.equal(alone.image, plain.harmonize(composite, ignore).best.image)


def test_events_reach_the_observer(paper):
    assert {event.stage for event in paper.events} == {"inversion", "text", "unconditional", "edit"}


def test_direct_inversion_makes_the_source_branch_the_photo(method, backbone, composite):
    pinned = method(structure={}, sampler=DDIM(steps=5), recomposer=Detail())
    outcome = pinned.harmonize(composite, ignore)
    with torch.no_grad():
        expected = backbone.decode(backbone.encode(outcome.best.edited.source_image[None]))[0].clamp(0, 1)
    torch.testing.assert_close(outcome.best.edited.source, expected)


def test_a_foreground_that_vanishes_is_refused(method, composite):
    speck = torch.zeros_like(composite.mask)
    speck[0, 0, 0] = 1
    with pytest.raises(InputError, match="vanishes"):
        method().harmonize(replace(composite, mask=speck), ignore)


def test_descriptions_of_one_image_share_its_inversion(method, composite):
    class Two(Fixed):
        def describe(self, composite, previous=()):
            return replace(super().describe(composite), background=("warm",) if previous else ("bright",))

    both = method(describer=Two("cat", "dim", "bright"), descriptions=2).harmonize(composite, ignore)
    assert [attempt.description.background for attempt in both.attempts[1:]] == [("bright",), ("warm",)]
    assert both.costs["inversion"].network_samples == 5
    alone = method(describer=Fixed("cat", "dim", "warm")).harmonize(composite, ignore)
    torch.testing.assert_close(both.attempts[2].image, alone.best.image, atol=1e-5, rtol=0)
