"""A CLIP tokenizer with a small vocabulary of its own, in which known words are single tokens."""

import json
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def _byte_characters() -> list[str]:
    """List the printable stand-ins of the 256 bytes used by byte-level pair encoding (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    spare = iter(range(256, 512))
    return [chr(value if value in printable else next(spare)) for value in range(256)]


def train_tokenizer(words: Iterable[str], max_length: int = 16) -> CLIPTokenizer:
    """Learn merges until every given word is one token; other words split into pieces learnt from the known ones.

    The vocabulary follows CLIP: 256 bytes, 256 bytes that end a word, the merges, then the two special tokens.

    Args:
        words: lower-case ASCII words.
        max_length: tokens of a padded prompt, start and end included.

    Raises:
        ValueError: when a word is not a non-empty run of ASCII letters.
    """
    known = sorted(set(words))
    wrong = [word for word in known if not (word.isascii() and word.isalpha() and word.islower())]
    if wrong or not known:
        raise ValueError(f"expected lower-case ASCII words, got {wrong or 'none'}")
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trainer = trainers.BpeTrainer(vocab_size=100_000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(known, trainer)
    merges = [tuple(pair) for pair in _merges(learner)]
    letters = _byte_characters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *dict.fromkeys(a + b for a, b in merges)]
    tokens += [START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    settings: dict[str, Any] = {"vocab": vocabulary, "merges": merges, "model_max_length": max_length}
    return CLIPTokenizer(**settings)


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    return json.loads(tokenizer.to_str())["model"]["merges"]
