"""Answers as language models really give them."""

import json
import logging
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diffharmon.condition.vocabulary import VOCABULARY, list_of
from diffharmon.describer.answer import parse
from diffharmon.describer.synonyms import SYNONYMS
from diffharmon.language_model.faults import AnswerError

ANSWERS = [json.loads(line) for line in (Path(__file__).parent / "answers.jsonl").read_text("utf-8").splitlines()]
GOOD = [answer for answer in ANSWERS if "wrong" not in answer]
WRONG = [answer for answer in ANSWERS if "wrong" in answer]


@pytest.mark.parametrize("answer", GOOD, ids=lambda answer: answer["text"][:40])
def test_what_a_careful_person_would_read(answer):
    description = parse(answer["text"])
    assert description.object == answer["object"]
    assert list(description.foreground) == answer["foreground"]
    assert list(description.background) == answer["background"]


@pytest.mark.parametrize("answer", WRONG, ids=lambda answer: answer["text"][:40])
def test_what_a_careful_person_would_not_accept(answer):
    with pytest.raises(AnswerError, match=answer["wrong"]):
        parse(answer["text"])


def test_there_are_forty_answers():
    assert len(GOOD) >= 25
    assert len(WRONG) >= 10


def test_synonyms_are_logged(caplog):
    with caplog.at_level(logging.INFO):
        parse("cat & (foreground) bright, overcast & (background) dim")
    assert "read 'overcast' as 'cloudy'" in caplog.text


def test_synonyms_lead_into_the_vocabulary_and_never_away_from_it():
    assert all(list_of(word) for word in SYNONYMS.values())
    assert not [form for form in SYNONYMS if list_of(form)]
    assert not [form for form in SYNONYMS if " " in form]


def _side():
    others = [name for name in VOCABULARY if name != "brightness"]
    chosen = st.lists(st.sampled_from(others), unique=True, max_size=3)
    return chosen.flatmap(lambda names: st.tuples(*(st.sampled_from(VOCABULARY[n]) for n in ("brightness", *names))))


@settings(deadline=None)
@given(
    _side(),
    _side(),
    st.sampled_from([", ", " ", "; ", " and ", "/", " | "]),
    st.sampled_from(
        ["{o} & (foreground) {f} & (background) {b}", "{o} & {f} & {b}", "{o} & (background) {b} & FG: {f}"]
    ),
    st.sampled_from([str, str.upper, str.title]),
)
def test_every_rule_abiding_answer_is_read_back(foreground, background, separator, form, case):
    pairs = {"-".join(pair) for side in (foreground, background) for pair in pairwise(side)}
    assume(separator != " " or not pairs & set(SYNONYMS))  # "cloudy sky" is one word of two tokens
    text = case(form.format(o="cat", f=separator.join(foreground), b=separator.join(background)))
    description = parse(text)
    assert description.foreground == foreground
    assert description.background == background


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_with_a_reason(text):
    try:
        description = parse(text)
    except AnswerError as error:
        reason = str(error)
    else:
        reason = "read"
        assert all(list_of(word) for word in (*description.foreground, *description.background))
    assert reason


@settings(deadline=None)
@given(st.text(alphabet="abcdefghij,;&()", min_size=3, max_size=12).filter(lambda word: not set(word) & set(",;&()")))
def test_no_word_outside_the_vocabulary_is_swallowed(word):
    if list_of(word) or word in SYNONYMS:
        return
    with pytest.raises(AnswerError):
        parse(f"cat & (foreground) bright, {word} & (background) dim")
