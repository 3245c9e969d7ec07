"""The user's own words."""

import pytest

from diffharmon.describer.fixed import Fixed
from diffharmon.errors import InputError
from diffharmon.protocols import Describer


@pytest.mark.parametrize(
    "words", ["dim cool", "dim,cool", "dim, cool", ["dim", "cool"], ["dim cool"], " dim  dim cool"]
)
def test_words_are_read_from_text_and_lists(composite, words):
    description = Fixed(object="cat", foreground=words, background="bright").describe(composite)
    assert description.foreground == ("dim", "cool")
    assert description.foreground_prompt == "cat dim cool"
    assert description.describer == "fixed"


def test_any_word_is_allowed(composite):
    assert Fixed("palm tree", "moonlit", ["moody"]).describe(composite).background_prompt == "palm tree moody"
    assert isinstance(Fixed("cat", "dim", "bright"), Describer)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "object and no foreground and no background"),
        ({"object": "cat"}, "no foreground and no background"),
        ({"object": "cat", "foreground": "dim", "background": " , "}, "no background"),
        ({"foreground": "dim", "background": "bright"}, "no object"),
    ],
)
def test_missing_words_are_named(given, named):
    with pytest.raises(InputError, match=f"prompts without descriptor words.*{named}.*expected"):
        Fixed(**given)
