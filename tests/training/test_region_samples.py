"""Samples of the small CLIP: what is asked for is shown, and the light that is told is the light that was made."""

from dataclasses import replace

import pytest
import torch

from diffharmon.condition import grades
from diffharmon.condition.light import cards_under
from diffharmon.images.regions import GREY
from diffharmon.training.captions import NEUTRAL
from diffharmon.training.photos import Photos
from diffharmon.training.region_samples import WORDS, RegionSampler, word_shares
from diffharmon.training.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def sampler(photos: Photos) -> RegionSampler:
    return RegionSampler(photos, 32, train_tokenizer({"object", "photo", "car", "street", *WORDS}))


@pytest.fixture(scope="module")
def plans(sampler: RegionSampler) -> list:
    generator = torch.Generator().manual_seed(0)
    return [sampler(generator) for _ in range(160)]


def test_samples_repeat_with_their_seed(sampler: RegionSampler) -> None:
    first, second = (sampler.render([sampler(torch.Generator().manual_seed(3))]) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_all_kinds_are_drawn(plans: list) -> None:
    assert {plan.region for plan in plans} == {"whole", "foreground", "background"}
    composites = [plan for plan in plans if plan.region != "whole"]
    assert {plan.context for plan in composites} == {True, False}
    touched = {(bool(plan.inside.any()), bool(plan.outside.any())) for plan in composites}
    assert touched == {(False, False), (True, False), (False, True), (True, True)}
    assert any(torch.equal(plan.inside, plan.outside) and plan.inside.any() for plan in composites)


def test_a_batch_is_made_of_images_and_of_shares(sampler: RegionSampler, plans: list) -> None:
    batch = sampler.render(plans[:24])
    assert batch["image"].shape == (24, 3, 32, 32)
    assert 0 <= batch["image"].min() <= batch["image"].max() <= 1
    torch.testing.assert_close(batch["words"].sum(1), torch.ones(24))
    for plan, shares in zip(plans, batch["words"], strict=False):
        assert {WORDS[place] for place in shares.nonzero().flatten().tolist()} == set(plan.words)


def test_the_light_is_that_of_the_region_asked_for(sampler: RegionSampler, plans: list) -> None:
    for plan, light in zip(plans, sampler.render(plans)["light"], strict=True):
        settings = plan.outside if plan.region == "background" else plan.inside
        neutral = not settings.any()
        assert torch.allclose(light, cards_under([()])[0], atol=1e-3) is bool(neutral)
        assert neutral is (plan.words == (NEUTRAL,)) or plan.region == "whole"


def test_only_the_region_asked_for_is_shown(sampler: RegionSampler, plans: list) -> None:
    chosen = [replace(plan, context=False) for plan in plans if plan.region == "foreground"][:12]
    for plan, image in zip(chosen, sampler.render(chosen)["image"], strict=True):
        hidden = (plan.layers[3] == 0).expand(3, -1, -1)
        assert (image[hidden] == GREY).all()
        seen = (plan.layers[3] == 1).expand(3, -1, -1)
        expected = grades.apply(grades.apply(plan.layers[:3], plan.camera), plan.inside)
        torch.testing.assert_close(image[seen], expected[seen], atol=1e-4, rtol=0)


def test_shares_add_up_to_one() -> None:
    shares = word_shares(("dim", "cool"))
    assert shares[WORDS.index("dim")] == shares[WORDS.index("cool")] == 0.5
    assert shares.sum() == 1
