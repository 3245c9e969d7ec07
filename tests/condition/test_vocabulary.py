import pytest

from diffharmon.condition.vocabulary import VOCABULARY, list_of


def test_seven_lists_without_a_repeated_word() -> None:
    words = [word for words in VOCABULARY.values() for word in words]
    assert len(VOCABULARY) == 7
    assert len(words) == len(set(words))
    assert all(word == word.lower() and word.isalpha() for word in words)


def test_every_word_finds_its_list() -> None:
    for name, words in VOCABULARY.items():
        assert all(list_of(word) == name for word in words)


def test_case_and_space_do_not_matter() -> None:
    assert list_of(" Dusk ") == "time"


def test_an_unknown_word_is_in_no_list() -> None:
    assert list_of("gloomy") is None


def test_the_vocabulary_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        VOCABULARY["mood"] = ("sad",)  # type: ignore[index]
