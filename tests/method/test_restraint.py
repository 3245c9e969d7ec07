"""A result that the evaluator does not trust stays near the composite; a trusted one and given words are followed."""

import math

import pytest
import torch

from diffharmon import metrics
from diffharmon.describer.fixed import Fixed
from diffharmon.errors import InputError
from diffharmon.evaluator.none import NoEvaluator
from diffharmon.images.nearness import kept_within
from diffharmon.method.policy import HELD_BACK, Policy
from diffharmon.recomposer.paste import Paste
from diffharmon.types import Description, Score, ignore, levels
from diffharmon.types.levels import Levels, Patch, floats, patched


class Read:
    """Describes by itself, so that nobody gave the words."""

    def describe(self, composite, previous=()):
        return Description("cat", ("dim",), ("bright",), "read")


class Judge:
    """Gives the composite even odds, and any change this many times as much."""

    def __init__(self, composite, factor):
        self.image, self.factor = composite.image, factor

    def score(self, image, mask, description):
        odds = 1.0 if torch.equal(image, self.image) else self.factor
        return Score(odds / (1 + odds))


def policy(**changes):
    return Policy(iterations=1, include_composite=False, **{"min_odds_gain": 4.0, "untrusted_psnr": 38.5, **changes})


def harmonized(method, composite, factor, **changes):
    parts = {"describer": Read(), "policy": policy(), "evaluator": Judge(composite, factor), "recomposer": Paste()}
    return method(**parts | changes).harmonize(composite, ignore)


def test_a_trusted_result_is_given_whole_and_another_is_kept_near(method, composite):
    whole = harmonized(method, composite, 4.01)
    near = harmonized(method, composite, 3.99)
    assert metrics.psnr(whole.best.image, composite.image) < 30
    assert metrics.psnr(near.best.image, composite.image) == pytest.approx(38.5, abs=1e-3)
    assert whole.best.strength == 1
    assert not whole.reason.startswith(HELD_BACK)
    assert 0 < near.best.strength < 1
    assert near.reason == (
        f"{HELD_BACK} within 38.5 dB of the composite, as the change raises the odds of the score less than 4 times"
    )
    # It is the same change, less of it, and the background stays bit for bit.
    change, part = whole.best.image - composite.image, near.best.image - composite.image
    assert torch.allclose(part, near.best.strength * change, atol=1e-6)
    assert torch.equal(part == 0, change == 0)
    assert near.best is near.attempts[1]


def test_without_a_distance_the_composite_is_the_result(method, composite):
    left = harmonized(method, composite, 3.99, policy=policy(untrusted_psnr=None))
    assert torch.equal(left.best.image, composite.image)
    assert left.best.iteration == -1
    assert left.reason.startswith(f"{HELD_BACK} altogether")


def test_a_result_that_is_near_already_is_not_changed(method, composite):
    whole = harmonized(method, composite, 9.0)
    distance = metrics.psnr(whole.best.image, composite.image)
    near = harmonized(method, composite, 1.0, policy=policy(untrusted_psnr=distance - 0.1))
    assert torch.equal(near.best.image, whole.best.image)
    assert near.best.strength == 1


@pytest.mark.parametrize("changes", [{"describer": Fixed("cat", "dim", "bright")}, {"variants": 2}])
def test_who_gives_words_or_wants_a_choice_gets_the_whole_change(method, composite, changes):
    outcome = harmonized(method, composite, 1.0, **changes)
    assert metrics.psnr(outcome.best.image, composite.image) < 30


def test_a_score_that_is_no_probability_is_refused_by_name(method, composite):
    with pytest.raises(InputError, match=r"min_odds_gain needs a probability, the evaluator's score is 0"):
        harmonized(method, composite, 1.0, evaluator=NoEvaluator())


@pytest.mark.parametrize("held", [False, True])
def test_every_photo_is_moved_by_the_same_share(held, monkeypatch):
    monkeypatch.setattr(levels, "_BAND", 5 * 31)  # several bands, the last one smaller
    drawn = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (3, 23, 31), generator=drawn, dtype=torch.uint8)
    photo = Levels(values, 255.0) if held else values / 255
    result = patched(photo, [Patch(4, 7, torch.rand(3, 14, 9, generator=drawn))])
    near, share = kept_within(photo, result, 30.0)
    assert isinstance(near, Levels) is held
    before, whole, after = (floats(image) for image in (photo, result, near))
    assert 10 * math.log10(1 / float((after - before).square().mean())) == pytest.approx(30, abs=1e-4)
    assert torch.allclose(after, before + share * (whole - before), atol=1e-6)
    outside = torch.ones(23, 31, dtype=torch.bool)
    outside[4:18, 7:16] = False
    assert torch.equal(after[:, outside], before[:, outside])
    same, all_of_it = kept_within(photo, result, 1.0)
    assert same is result
    assert all_of_it == 1
