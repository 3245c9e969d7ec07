"""What the loop does with descriptions: several, equal, empty or none, and a describer that fails."""

import pytest
import torch

from diffharmon.describer.fixed import Fixed
from diffharmon.errors import DescriberError, InputError
from diffharmon.method.policy import UNCONVINCING, Policy
from diffharmon.recomposer.detail import Detail
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


def test_the_untouched_composite_wins_when_everything_is_worse(method, composite):
    class Worse(Darkness):
        def score(self, image, mask, description):
            return Score(1.0 if torch.equal(image, composite.image) else 0.0)

    outcome = method(evaluator=Worse(), policy=Policy(iterations=2)).harmonize(composite, ignore)
    assert outcome.best.iteration == -1
    assert torch.equal(outcome.best.image, composite.image)


@pytest.mark.parametrize(("describer", "tried"), [(Twice(), 0), (Fixed("cat", "dim", "bright"), 1)])
def test_a_good_composite_is_left_alone_unless_words_were_given(method, composite, describer, tried):
    policy = Policy(iterations=1, skip_above=-2.0, include_composite=False)
    outcome = method(describer=describer, evaluator=Darkness(), policy=policy).harmonize(composite, ignore)
    assert len(outcome.attempts) == 1 + tried
    assert torch.equal(outcome.best.image, composite.image) is (tried == 0)
    assert "at least -2" in outcome.reason or tried


@pytest.mark.parametrize(
    ("changes", "taken"),
    [({"describer": Twice()}, False), ({}, True), ({"describer": Twice(), "variants": 2}, True)],
)
def test_a_change_that_convinces_too_little_is_left_out_unless_words_or_a_choice_were_wanted(
    method, composite, changes, taken
):
    class Even(Darkness):
        def score(self, image, mask, description):
            return Score(0.5)

    policy = Policy(iterations=1, min_odds_gain=1.5, include_composite=False)
    outcome = method(**{"evaluator": Even(), "policy": policy, **changes}).harmonize(composite, ignore)
    assert len(outcome.attempts) == 2
    assert torch.equal(outcome.best.image, composite.image) is not taken
    assert outcome.reason.startswith(UNCONVINCING) is not taken


def test_several_descriptions_are_tried_first_and_equal_ones_once(method, composite):
    tried = method(describer=Twice(), evaluator=Darkness(), descriptions=3, policy=Policy(iterations=2))
    outcome = tried.harmonize(composite, ignore)
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 0, 1]
    words = [attempt.description.foreground for attempt in outcome.attempts[1:3]]
    assert words == [("dim",), ("warm",)]
    assert [attempt.number for attempt in outcome.attempts] == [-1, 0, 1, 2]


@pytest.mark.parametrize("words", [None, 1])
def test_the_same_words_on_both_sides_leave_the_composite_without_diffusion(method, composite, words):
    same = Fixed("cat", "dim cold", "dim cold" if words is None else "dim warm")
    outcome = method(describer=same, words=words).harmonize(composite, ignore)
    assert outcome.best.image is outcome.attempts[0].image
    assert torch.equal(outcome.best.image, composite.image)
    assert "the same words" in outcome.reason
    assert sum(cost.network_calls for cost in outcome.costs.values()) == 0


def test_without_strength_the_composite_is_left_without_diffusion(method, composite):
    outcome = method(recomposer=Detail(strength=0.0)).harmonize(composite, ignore)
    assert torch.equal(outcome.best.image, composite.image)
    assert outcome.reason == "recomposer.strength=0 leaves the photo as it is"
    assert sum(cost.network_calls for cost in outcome.costs.values()) == 0


def test_a_description_without_a_change_is_skipped_where_others_have_one(method, composite):
    class Sometimes(Twice):
        def describe(self, composite, previous=()):
            return Description("cat", ("bright",) if not previous else ("dim",), ("bright",))

    tried = method(describer=Sometimes(), descriptions=2).harmonize(composite, ignore)
    assert [attempt.description.foreground for attempt in tried.attempts] == [("bright",), ("dim",)]


def test_a_describer_that_fails_later_loses_no_attempt(method, composite):
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
    outcome = method(describer=Once(), evaluator=Falling(), policy=policy).harmonize(composite, ignore)
    assert outcome.reason == "no other description: the service is gone"
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 1, 2]
    assert outcome.best.iteration == 0


@pytest.mark.parametrize(("again", "reason"), [("dim", "repeated one"), ("bright", "the same words")])
def test_a_describer_without_another_description_ends_the_loop(method, composite, again, reason):
    class Repeating:
        def describe(self, composite, previous=()):
            words = ("dim",) if not previous else (again,)
            return Description("cat", words, ("bright",))

    class Falling(Darkness):
        scores = iter([0.9, 0.8, 0.7, 0.6])

        def score(self, image, mask, description):
            return Score(next(self.scores))

    policy = Policy(iterations=9, redescribe="new", include_composite=False)
    outcome = method(describer=Repeating(), evaluator=Falling(), policy=policy).harmonize(composite, ignore)
    assert outcome.reason.startswith("no other description: ")
    assert reason in outcome.reason
    assert [attempt.iteration for attempt in outcome.attempts] == [-1, 0, 1, 2]


def test_only_the_first_words_count_where_asked(method, composite):
    single = method(words=1).harmonize(composite, ignore).best.description
    assert single.foreground == ("dim",)


@pytest.mark.parametrize(("foreground", "background"), [("", "bright"), ("dim", "")])
def test_a_description_without_condition_words_is_refused(method, composite, foreground, background):
    class Silent:
        def describe(self, composite, previous=()):
            return Description("cat", tuple(foreground.split()), tuple(background.split()))

    with pytest.raises(InputError, match="no condition words"):
        method(describer=Silent()).harmonize(composite, ignore)
