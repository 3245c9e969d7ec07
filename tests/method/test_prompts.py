"""Which words, rules and settings each part of the method follows: what changes when one of them does."""

import pytest

from diffharmon.describer.fixed import Fixed
from diffharmon.embedding.negative_prompt import NegativePrompt
from diffharmon.recomposer.detail import Detail
from diffharmon.structure.attention import CrossAttention, SelfAttention
from diffharmon.types import ignore


@pytest.fixture
def attempt(method, composite):
    """Harmonize once with some words and settings."""

    def run(foreground="dim cold", background="bright", **changes):
        parts = {"describer": Fixed("cat", foreground, background), "recomposer": Detail(), **changes}
        return method(**parts).harmonize(composite, ignore).best

    return run


def change(first, second):
    """Largest difference of two images or maps."""
    return (first - second).abs().max().item()


NOTHING = 1e-5


def test_the_source_branch_follows_the_foreground_words_and_the_edited_one_the_background_words(attempt):
    plain, other_foreground, other_background = attempt(), attempt(foreground="warm"), attempt(background="warm")
    assert change(plain.edited.source, other_foreground.edited.source) > 10 * NOTHING
    assert change(plain.edited.source, other_background.edited.source) < NOTHING
    assert change(plain.edited.edited, other_background.edited.edited) > 10 * NOTHING


@pytest.mark.parametrize("part", ["cross_attention", "self_attention"])
def test_attention_rules_change_the_edited_branch_only(attempt, part):
    rule = {"cross_attention": CrossAttention(), "self_attention": SelfAttention()}[part]
    free, ruled = attempt(structure={}), attempt(structure={part: rule})
    assert change(free.edited.edited, ruled.edited.edited) > 10 * NOTHING
    assert change(free.edited.source, ruled.edited.source) < NOTHING


def test_word_maps_follow_the_words_of_their_own_prompt(attempt):
    plain, other_foreground, other_background = attempt(), attempt(foreground="dim warm"), attempt(background="warm")
    for words in (plain.words, other_background.words):
        assert change(words["foreground dim"], plain.words["foreground dim"]) < NOTHING
        assert change(words["foreground cold"], plain.words["foreground cold"]) < NOTHING
    assert change(plain.words["background bright"], other_foreground.words["background bright"]) < NOTHING
    assert change(plain.words["foreground dim"], other_foreground.words["foreground dim"]) > NOTHING


@pytest.mark.parametrize("setting", ["guidance", "inversion_guidance"])
def test_both_guidance_scales_reach_their_loops(attempt, setting):
    low, high = attempt(**{setting: 2.0}), attempt(**{setting: 5.0})
    assert change(low.edited.edited, high.edited.edited) > 10 * NOTHING


def test_what_an_embedding_optimizer_returns_is_what_is_edited_with(attempt):
    # With the foreground prompt as unconditional one, guidance cancels out of the source branch.
    source = [
        attempt(embedding={"unconditional": NegativePrompt()}, guidance=scale).edited.source for scale in (2.0, 5.0)
    ]
    assert change(*source) < 10 * NOTHING
    assert change(source[0], attempt(guidance=5.0).edited.source) > 20 * NOTHING
