"""What a vision-language model is asked."""

from dataclasses import replace

import torch

from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.describer import prompt
from diffharmon.types import Description

SAID = Description("cat", ("bright", "warm"), ("dim",))


def test_the_prompt_holds_all_words_and_the_form():
    text = prompt.compose(prompt.PROMPT, [])
    assert all(word in text for entries in VOCABULARY.values() for word in entries)
    assert "object & (foreground) words with commas & (background) words with commas" in text
    assert "{" not in text
    assert "tried before" not in text


def test_what_was_tried_stands_once_with_its_best_score(attempt):
    before = [attempt(SAID, 0.9, -1), attempt(SAID, 0.25), attempt(SAID, 0.5), attempt(SAID, float("nan"))]
    text = prompt.compose(prompt.PROMPT, before, complaint="it is empty")
    assert text.count("cat & (foreground) bright, warm & (background) dim: harmony score 0.500") == 1
    assert text.endswith("could not be used: it is empty")
    assert "score" not in prompt.compose("Hello", [attempt(SAID, 0.9, -1)]).split("dim")[-1]


def test_another_prompt_is_another_version():
    assert prompt.version(prompt.PROMPT) == prompt.version(prompt.PROMPT)
    assert prompt.version(prompt.PROMPT) != prompt.version(prompt.PROMPT + " ")


def test_pictures_keep_shape_and_colours(composite):
    photo, mask = prompt.pictures(composite, 128)
    assert photo.size == mask.size == (128, 96)
    assert photo.mode == mask.mode == "RGB"
    assert mask.getpixel((64, 48)) == (255, 255, 255)
    assert mask.getpixel((2, 2)) == (0, 0, 0)
    red = torch.zeros_like(composite.image)
    red[0] = 1
    assert prompt.pictures(replace(composite, image=red), 16)[0].getpixel((8, 5)) == (255, 0, 0)
