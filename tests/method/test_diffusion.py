from dataclasses import replace

import pytest
import torch

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.describer.fixed import Fixed
from diffharmon.embedding.null_text import NullText
from diffharmon.embedding.text_refine import TextRefine
from diffharmon.errors import DescriberError, InputError
from diffharmon.evaluator.none import NoEvaluator
from diffharmon.method.diffusion import Diffusion
from diffharmon.method.policy import Policy
from diffharmon.recomposer.detail import Detail
from diffharmon.recomposer.feather import Feather
from diffharmon.recomposer.paste import Paste
from diffharmon.sampler.ddim import DDIM
from diffharmon.structure.attention import CrossAttention, SelfAttention
from diffharmon.structure.edges import EdgeLoss
from diffharmon.structure.sobel import Sobel
from diffharmon.types import Description, Score, ignore


class Darkness:
    """A real, if simple, judge: dark foregrounds are better."""

    def score(self, image, mask, description):
        return Score(-float((image * mask).sum() / (3 * mask.sum())))


class Twice:
    """Describes once like this, then like that."""

    def describe(self, composite, previous=()):
        words = ("dim",) if not previous else ("warm",)
        return Description("cat", words, ("bright",), "twice")


def method(backbone, **changes):
    parts = {
        "describer": Fixed("cat", "dim cold", "bright"),
        "backbone": backbone,
        "sampler": DDIM(steps=5, direct_inversion=False),
        "embedding": {},
        "structure": {"cross_attention": CrossAttention(), "self_attention": SelfAttention()},
        "recomposer": Paste(),
        "evaluator": NoEvaluator(),
        "policy": Policy(iterations=1, ties="last"),
        "guidance": 2.5,
    }
    return Diffusion(**{**parts, **changes})


@pytest.fixture
def paper(backbone):
    return method(
        backbone,
        embedding={"text": TextRefine(divisor=8), "unconditional": NullText(guidance=2.5, updates_every=3)},
        structure={
            "cross_attention": CrossAttention(),
            "self_attention": SelfAttention(),
            "sobel": EdgeLoss(Sobel()),
        },
        policy=Policy(iterations=2, ties="last"),
    )


def test_the_whole_method_runs_at_full_size_and_leaves_the_background(paper, composite):
    outcome = paper.harmonize(composite, ignore)
    image = outcome.best.image
    assert image.shape == composite.image.shape
    background = (composite.mask == 0).expand(3, -1, -1)
    assert torch.equal(image[background], composite.image[background])
    assert not torch.equal(image, composite.image)
    assert image.isfinite().all()
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 1]
    assert set(outcome.best.words) == {"foreground dim", "foreground cold", "background bright"}


def test_the_same_image_comes_out_byte_for_byte_and_seeds_differ_by_name(backbone, composite):
    plain = method(backbone)
    first, second = (plain.harmonize(composite, ignore).best.image for _ in range(2))
    assert torch.equal(first, second)
    assert plain.image_seed("a") != plain.image_seed("b")
    assert plain.image_seed("a") != method(backbone, seed=1).image_seed("a")


def test_the_ground_truth_is_never_seen(backbone, composite):
    class Watching(Fixed):
        def describe(self, composite, previous=()):
            assert composite.real is None
            return super().describe(composite, previous)

    watched = method(backbone, describer=Watching("cat", "dim", "bright"))
    blind = watched.harmonize(replace(composite, real=None), ignore)
    assert torch.equal(watched.harmonize(composite, ignore).best.image, blind.best.image)


def test_the_input_is_not_written_to(paper, composite):
    before = composite.image.clone(), composite.mask.clone()
    paper.harmonize(composite, ignore)
    assert torch.equal(composite.image, before[0])
    assert torch.equal(composite.mask, before[1])


def test_each_iteration_starts_from_the_former_result(backbone, composite):
    seen = []

    class Recording(Paste):
        def recompose(self, composite, current, edited):
            seen.append(current)
            return super().recompose(composite, current, edited)

    twice = method(backbone, recomposer=Recording(), policy=Policy(iterations=3, ties="last"))
    outcome = twice.harmonize(composite, ignore)
    assert seen[0] is outcome.attempts[0].image
    assert seen[1] is outcome.attempts[1].image
    assert seen[2] is outcome.attempts[2].image


def test_the_untouched_composite_wins_when_everything_is_worse(backbone, composite):
    class Worse(Darkness):
        def score(self, image, mask, description):
            return Score(1.0 if torch.equal(image, composite.image) else 0.0)

    outcome = method(backbone, evaluator=Worse(), policy=Policy(iterations=2)).harmonize(composite, ignore)
    assert outcome.best.iteration == -1
    assert torch.equal(outcome.best.image, composite.image)


@pytest.mark.parametrize(("describer", "tried"), [(Twice(), 0), (Fixed("cat", "dim", "bright"), 1)])
def test_a_good_composite_is_left_alone_unless_words_were_given(backbone, composite, describer, tried):
    policy = Policy(iterations=1, skip_above=-2.0, include_composite=False)
    outcome = method(backbone, describer=describer, evaluator=Darkness(), policy=policy).harmonize(composite, ignore)
    assert len(outcome.attempts) == 1 + tried
    assert torch.equal(outcome.best.image, composite.image) is (tried == 0)
    assert "at least -2" in outcome.reason or tried


def test_several_descriptions_are_tried_first_and_equal_ones_once(backbone, composite):
    tried = method(backbone, describer=Twice(), evaluator=Darkness(), descriptions=3, policy=Policy(iterations=2))
    outcome = tried.harmonize(composite, ignore)
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 0, 1]
    words = [attempt.description.foreground for attempt in outcome.attempts[1:3]]
    assert words == [("dim",), ("warm",)]
    assert [attempt.number for attempt in outcome.attempts] == [-1, 0, 1, 2]


@pytest.mark.parametrize("words", [None, 1])
def test_the_same_words_on_both_sides_leave_the_composite_without_diffusion(backbone, composite, words):
    same = Fixed("cat", "dim cold", "dim cold" if words is None else "dim warm")
    outcome = method(backbone, describer=same, words=words).harmonize(composite, ignore)
    assert outcome.best.image is outcome.attempts[0].image
    assert torch.equal(outcome.best.image, composite.image)
    assert "the same words" in outcome.reason
    assert sum(cost.network_calls for cost in outcome.costs.values()) == 0


def test_a_description_without_a_change_is_skipped_where_others_have_one(backbone, composite):
    class Sometimes(Twice):
        def describe(self, composite, previous=()):
            return Description("cat", ("bright",) if not previous else ("dim",), ("bright",))

    tried = method(backbone, describer=Sometimes(), descriptions=2).harmonize(composite, ignore)
    assert [attempt.description.foreground for attempt in tried.attempts] == [("bright",), ("dim",)]


def test_a_describer_that_fails_later_loses_no_attempt(backbone, composite):
    class Once(Twice):
        def describe(self, composite, previous=()):
            if any(attempt.iteration >= 0 for attempt in previous):
                raise DescriberError("the service is gone")
            return super().describe(composite)

    class Falling(Darkness):
        """Every later image is judged worse."""

        scores = iter([0.9, 0.8, 0.7, 0.6, 0.5])

        def score(self, image, mask, description):
            return Score(next(self.scores))

    policy = Policy(iterations=9, redescribe="new", include_composite=False)
    outcome = method(backbone, describer=Once(), evaluator=Falling(), policy=policy).harmonize(composite, ignore)
    assert outcome.reason == "no other description: the service is gone"
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 1, 2]
    assert outcome.best.iteration == 0


@pytest.mark.parametrize(("again", "reason"), [("dim", "repeated one"), ("bright", "the same words")])
def test_a_describer_without_another_description_ends_the_loop(backbone, composite, again, reason):
    class Repeating:
        def describe(self, composite, previous=()):
            words = ("dim",) if not previous else (again,)
            return Description("cat", words, ("bright",))

    class Falling(Darkness):
        scores = iter([0.9, 0.8, 0.7, 0.6])

        def score(self, image, mask, description):
            return Score(next(self.scores))

    policy = Policy(iterations=9, redescribe="new", include_composite=False)
    outcome = method(backbone, describer=Repeating(), evaluator=Falling(), policy=policy).harmonize(composite, ignore)
    assert outcome.reason.startswith("no other description: ")
    assert reason in outcome.reason
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 1, 2]


def test_only_the_first_words_count_where_asked(backbone, composite):
    single = method(backbone, words=1).harmonize(composite, ignore).best.description
    assert single.foreground == ("dim",)


def test_the_structure_kept_is_the_photos_in_every_iteration(backbone, composite):
    seen = []

    class Recording(SelfAttention):
        def guide(self, composite, size):
            seen.append(composite.image)
            return super().guide(composite, size)

    twice = method(backbone, structure={"self": Recording()}, policy=Policy(iterations=2, ties="last"))
    twice.harmonize(composite, ignore)
    assert len(seen) == 2
    assert all(torch.equal(image, composite.image) for image in seen)


@pytest.fixture(scope="module")
def fitting(pipeline_folder):
    return StableDiffusion(str(pipeline_folder), size=64, canvas="fit")


@pytest.mark.parametrize("recomposer", [Paste(), Feather(), Detail()])
def test_a_fitted_canvas_works_from_end_to_end(fitting, composite, recomposer):
    whole = method(
        fitting,
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


def test_a_square_photo_is_the_same_on_both_canvases(backbone, fitting, composite):
    square = replace(composite, image=composite.image[:, :, 12:60], mask=composite.mask[:, :, 12:60], real=None)
    images = [method(model).harmonize(square, ignore).best.image for model in (backbone, fitting)]
    assert torch.equal(*images)


def test_costs_are_counted_by_stage(paper, composite):
    costs = paper.harmonize(composite, ignore).costs
    calls = {stage: cost.network_calls for stage, cost in costs.items()}
    updates = 1 + 1 + 1 + 2 + 2
    assert calls["inversion"] == 2 * 5
    assert calls["text"] == 2 * 2 * 5
    assert calls["unconditional"] == 2 * (5 + updates + 5)
    assert calls["edit"] == 2 * (5 + 1)  # one more for the words' attention maps
    assert costs["edit"].network_samples == 2 * (5 * 4 + 2)
    assert calls["evaluate"] == calls["recompose"] == 0
    assert all(cost.seconds >= 0 for cost in costs.values())


def test_one_pass_needs_nobody_watching(backbone, composite):
    plain = method(backbone)
    description = plain.describer.describe(composite)
    alone = plain.attempt(plain.canvas(composite), composite.image, description)
    assert torch.equal(alone.image, plain.harmonize(composite, ignore).best.image)


def test_events_reach_the_observer(paper, composite):
    events = []
    paper.harmonize(composite, events.append)
    assert {event.stage for event in events} == {"inversion", "text", "unconditional", "edit"}


def test_direct_inversion_makes_the_source_branch_the_photo(backbone, composite):
    pinned = method(backbone, structure={}, sampler=DDIM(steps=5), recomposer=Detail())
    outcome = pinned.harmonize(composite, ignore)
    with torch.no_grad():
        expected = backbone.decode(backbone.encode(outcome.best.edited.source_image[None]))[0].clamp(0, 1)
    torch.testing.assert_close(outcome.best.edited.source, expected)


@pytest.mark.parametrize(("foreground", "background"), [("", "bright"), ("dim", "")])
def test_a_description_without_condition_words_is_refused(backbone, composite, foreground, background):
    class Silent:
        def describe(self, composite, previous=()):
            return Description("cat", tuple(foreground.split()), tuple(background.split()))

    with pytest.raises(InputError, match="no condition words"):
        method(backbone, describer=Silent()).harmonize(composite, ignore)


def test_a_foreground_that_vanishes_is_refused(backbone, composite):
    speck = torch.zeros_like(composite.mask)
    speck[0, 0, 0] = 1
    with pytest.raises(InputError, match="vanishes"):
        method(backbone).harmonize(replace(composite, mask=speck), ignore)
