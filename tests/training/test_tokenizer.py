from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.training.tokenizer import END, START, train_tokenizer

WORDS = [word for words in VOCABULARY.values() for word in words] + ["cat", "carton", "car", "photo"]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return train_tokenizer(WORDS, max_length=12)


def test_every_known_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    for word in WORDS:
        assert tokenizer.tokenize(word) == [word + "</w>"]


def test_unknown_words_keep_their_letters(tokenizer: CLIPTokenizer) -> None:
    for word in ("overcast", "zzyzx", "été", "skyline"):
        pieces = tokenizer.tokenize(word)
        assert len(pieces) > 1
        assert tokenizer.decode(tokenizer(word).input_ids, skip_special_tokens=True).strip() == word


def test_prompts_are_framed_and_padded(tokenizer: CLIPTokenizer) -> None:
    tokens = tokenizer("cat dark", padding="max_length").input_ids
    names = tokenizer.convert_ids_to_tokens(tokens)
    assert names == [START, "cat</w>", "dark</w>", *[END] * 9]


def test_a_saved_tokenizer_loads_as_clip_tokenizer(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    text = "car dim, overcast night"
    assert loaded(text, padding="max_length").input_ids == tokenizer(text, padding="max_length").input_ids
    assert loaded.model_max_length == 12
    assert loaded("cat dark").word_ids() == [None, 0, 1, None]


@pytest.mark.parametrize("words", [[], ["Upper"], ["two words"], ["naïve"]])
def test_words_that_cannot_be_learnt_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        train_tokenizer(words)
