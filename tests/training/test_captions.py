import pytest
import torch

from diffharmon.condition.vocabulary import list_of
from diffharmon.training.captions import COMMON_NOUNS, caption, object_word, sample_words, scene_object


@pytest.mark.parametrize(
    ("label", "noun"),
    [
        ("great white shark", "shark"),
        ("carLeft", "car"),
        ("car side az30deg", "car"),
        ("potted-plant", "plant"),
        ("trees", "tree"),
        ("goat left mid mountain", "goat"),
        ("salient", None),
        ("region", None),
        ("black-region", None),
        ("", None),
    ],
)
def test_a_label_becomes_one_noun(label: str, noun: str | None) -> None:
    assert object_word(label) == noun


def test_scene_classes_name_what_they_show() -> None:
    assert scene_object("sunrise") == "sky"
    assert scene_object("buildings") == "building"


def test_drawn_words_come_from_different_lists() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_words(generator, exclude=("daylight",)) for _ in range(300)]
    assert {len(words) for words in drawn} == {1, 2, 3, 4}
    for words in drawn:
        lists = [list_of(word) for word in words]
        assert None not in lists
        assert len(set(lists)) == len(lists)
        assert "daylight" not in words


def test_the_noun_comes_first() -> None:
    assert caption("cat", ("dim", "dusk")) == "cat dim dusk"


def test_common_nouns_are_words() -> None:
    assert all(noun.isascii() and noun.isalpha() and noun.islower() for noun in COMMON_NOUNS)
