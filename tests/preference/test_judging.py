"""A vision-language model as a judge: a toy that always says A, and a service that prefers the brighter picture."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "describer"))

from gemini_server import GeminiServer, pictures, says, text
from toy_llava import build

from diffharmon.errors import DescriberError
from diffharmon.language_model.faults import AnswerError
from diffharmon.language_model.genai import GenAI, text_of
from diffharmon.language_model.local import LocalModel
from diffharmon.language_model.retry import Pace
from diffharmon.language_model.service import encode
from diffharmon.preference.answers import Answer
from diffharmon.preference.bradley_terry import standings
from diffharmon.preference.judging import AXES, QUESTION, Judge, parse, preference
from diffharmon.preference.orders import disagreements


def plain(level):
    return Image.new("RGB", (24, 24), (level, level, level))


DIM, BRIGHT, COMPOSITE = ("dim", plain(60)), ("bright", plain(200)), plain(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    processor, model = build(positions=640)
    content = [*({"type": "image", "image": plain(level)} for level in (30, 60, 200))]
    content.append({"type": "text", "text": QUESTION.format(axis=AXES["colour"])})
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    answer = processor.tokenizer("A<eos>", return_tensors="pt", add_special_tokens=False).input_ids
    tokens = torch.cat([inputs["input_ids"], answer], 1)
    labels = tokens.clone()
    labels[:, : inputs["input_ids"].shape[1]] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(20):
        loss = model(input_ids=tokens, pixel_values=inputs["pixel_values"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    path = tmp_path_factory.mktemp("judge")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return str(path)


def test_a_model_that_always_says_a_prefers_nothing_and_is_found_out(folder):
    local = LocalModel(folder, "--model", device="cpu", dtype="float32", temperature=0.0, max_new_tokens=4)
    answers = list(Judge(local.ask, ("colour",)).compare("photo", DIM, BRIGHT, COMPOSITE))
    assert [answer.choice for answer in answers] == ["left", "left"]
    assert [(answer.left, answer.right) for answer in answers] == [("dim", "bright"), ("bright", "dim")]
    assert disagreements(answers) == (1, 1)
    assert [one.score for one in standings(answers, resamples=1)] == pytest.approx([0, 0])


def brighter(request):
    _, first, second = (np.asarray(Image.open(io.BytesIO(data))).mean() for data in pictures(request))
    if "colour" in text(request):
        return says("I cannot say.")
    return says("A" if first > second else "The answer is B.")


def test_a_judge_that_looks_keeps_to_its_choice_and_says_when_it_cannot(monkeypatch, caplog):
    monkeypatch.setenv("GOOGLE_API_KEY", "AIza-planted")
    with GeminiServer(respond=brighter) as server:
        client = GenAI("gemini", "--gemini", server.url, 2.0, Pace(0.0))
        judge = Judge(lambda asked, shown: text_of(client.ask(asked, [encode(one) for one in shown], {})), tries=2)
        answers = list(judge.compare("photo", DIM, BRIGHT, COMPOSITE))
    assert {answer.axis for answer in answers} == {"brightness", "plausibility"}
    assert "colour: left out, none of 2 answers is A, B or T" in caplog.text
    assert len(server.requests) == 4 + 2 * 2
    assert preference(answers, "bright") == 1 == -preference(answers, "dim")
    assert disagreements([answer for answer in answers if answer.axis == "brightness"]) == (1, 0)


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("A", "left"),
        (" b. ", "right"),
        ("**T**", "tie"),
        ("Answer: B", "right"),
        ("Version A.", "left"),
        ("tie", "tie"),
    ],
)
def test_letters_are_read(said, choice):
    assert parse(said) == choice


@pytest.mark.parametrize("said", ["", "A or B", "A lot", "Both", "C", "Neither A"])
def test_anything_else_is_no_answer(said):
    with pytest.raises(AnswerError, match="expected A, B or T"):
        parse(said)


def test_ties_are_no_preference():
    assert preference([Answer("x", "a", "b", "tie"), Answer("x", "b", "a", "right")], "a") == 0.5
    with pytest.raises(DescriberError, match="no usable answer"):
        preference([], "a")
