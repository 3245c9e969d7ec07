"""Both Gemini SDKs against a small local server, through success and every fault."""

import io
import logging
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from gemini_server import GOOD, GeminiServer, error, pictures, says, text
from PIL import Image

from diffharmon.describer.fixed import Fixed
from diffharmon.describer.gemini import Gemini
from diffharmon.describer.google_genai import GoogleGenAI
from diffharmon.errors import DescriberError
from diffharmon.types import Description

pytest.importorskip("google.generativeai")
pytest.importorskip("google.genai")

KEY = "AIza-planted/key+0123456789="
BUSY = (429, error(429, "RESOURCE_EXHAUSTED", f"quota of {KEY} used up"))
OUTSIDE = says("cat & (foreground) bright, soft & (background) dim")


@pytest.fixture(params=[Gemini, GoogleGenAI])
def kind(request, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    return request.param


@pytest.fixture
def make(kind):
    def make(server, **settings):
        quick = {"timeout": 0.4, "attempts": 3, "first_delay": 0.01, "longest_delay": 2.0, "width": 96}
        return kind(endpoint=server.url, **quick | settings)

    return make


def test_prompt_composite_and_mask_are_sent(make, composite):
    with GeminiServer() as server:
        description = make(server).describe(composite)
    assert description.foreground == ("bright", "warm")
    assert description.describer.endswith("(gemini-2.5-flash-lite)")
    (request,) = server.requests
    assert request["key"] == KEY
    assert request["path"].split("?")[0].endswith("/models/gemini-2.5-flash-lite:generateContent")
    assert request["body"]["generationConfig"] == {"temperature": 0.3, "topP": 1.0, "topK": 64}
    assert "brightness: dazzling, bright, dim" in text(request)
    photo, mask = (
        torch.tensor(list(Image.open(io.BytesIO(data)).convert("RGB").getdata())) for data in pictures(request)
    )
    assert len(photo) == len(mask) == 96 * 72, "resized to the width, aspect kept"
    white = mask[:, 0] > 128
    assert 0.15 < white.float().mean() < 0.25
    assert photo[white].float().mean() > 200 > 100 > photo[mask[:, 0] < 5].float().mean(), "the mask fits the photo"


@pytest.mark.parametrize(
    ("replies", "requests"),
    [
        ([BUSY], 2),
        ([(500, error(500, "INTERNAL", "oops")), (503, error(503, "UNAVAILABLE", "later"))], 3),
        ([(502, "<html>Bad gateway</html>")], 2),
        (["hang"], 2),
        (["drop"], 2),
        ([(200, '{"candidates": [')], 2),
        ([says("")], 2),
        ([{}], 2),
        ([says("I see a cat.")], 2),
        ([OUTSIDE, says("cat & (foreground) warm & (background) dim")], 3),
    ],
    ids=["429", "5xx", "html", "timeout", "dropped", "cut JSON", "empty", "no candidate", "malformed", "outside"],
)
def test_passing_faults_are_overcome(make, composite, replies, requests):
    with GeminiServer(*replies) as server:
        assert make(server).describe(composite).background == ("dim", "cool")
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("replies", "message", "requests"),
    [
        ([BUSY] * 3, r"answered 429: quota of \[key\] used up.*asked 3 times", 3),
        ([(503, error(503, "UNAVAILABLE", "overloaded"))] * 3, "answered 503: overloaded", 3),
        (["hang"] * 3, r"did not answer within 0.4 s", 3),
        (["drop"] * 3, "cannot be reached", 3),
        ([(200, "{")] * 3, "malformed", 3),
        ([(*BUSY, {"Retry-After": "3600"})], "asks to wait 3600 s, more than the longest wait of 2 s", 1),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], r"blocked.*SAFETY", 1),
        ([says("", "SAFETY")], r"blocked.*SAFETY", 1),
        ([says("cat", "PROHIBITED_CONTENT")], r"blocked.*PROHIBITED_CONTENT", 1),
        ([says("")] * 3, r"none of 3 answers could be used.*empty", 3),
        ([says("I see a cat.")] * 3, r"none of 3 answers.*'I see a cat.'", 3),
        ([OUTSIDE] * 3, "'soft' is not in the vocabulary", 3),
        ([(400, error(400, "INVALID_ARGUMENT", f"API key expired: {KEY}"))], r"does not accept the key.*\[key\]", 1),
        ([(400, error(400, "INVALID_ARGUMENT", "API key not valid"))], "does not accept the key", 1),
        ([(401, error(401, "UNAUTHENTICATED", "who?"))] * 5, "does not accept the key", None),
        ([(403, error(403, "PERMISSION_DENIED", "no"))], "does not accept the key", 1),
        ([(404, error(404, "NOT_FOUND", "no such model"))], "does not have describer.model=gemini-2.5-flash-lite", 1),
        ([(400, error(400, "INVALID_ARGUMENT", "image too small"))], "refused the request.*image too small", 1),
    ],
)
def test_lasting_faults_are_one_clear_error_without_the_key(make, composite, replies, message, requests, caplog):
    caplog.set_level(logging.DEBUG)
    with GeminiServer(*replies) as server, pytest.raises(DescriberError, match=message) as caught:
        make(server).describe(composite)
    assert requests is None or len(server.requests) == requests
    assert KEY not in str(caught.value) + caplog.text
    assert "subset/photo" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_retry_after_is_honoured(make, composite):
    with GeminiServer((*BUSY, {"Retry-After": "1"})) as server:
        make(server).describe(composite)
    first, second = (request["time"] for request in server.requests)
    assert second - first >= 1.0


def test_no_network(make, composite, kind):
    with GeminiServer() as server:
        pass
    with pytest.raises(DescriberError, match="cannot be reached"):
        make(server).describe(composite)


@pytest.mark.parametrize(
    ("value", "message"), [("", "no key.*GOOGLE_API_KEY or GEMINI_API_KEY"), ("ab cd", "copy it again")]
)
def test_missing_and_garbled_keys(make, composite, monkeypatch, value, message):
    monkeypatch.setenv("GOOGLE_API_KEY", value)
    with GeminiServer() as server, pytest.raises(DescriberError, match=message):
        make(server).describe(composite)
    assert not server.requests


def test_the_other_variable_and_stray_spaces(make, composite, monkeypatch):
    monkeypatch.delenv("GOOGLE_API_KEY")
    monkeypatch.setenv("GEMINI_API_KEY", f" {KEY}\n")
    with GeminiServer() as server:
        make(server).describe(composite)
    assert server.requests[0]["key"] == KEY


def test_the_fallback_speaks_and_says_so(make, composite, caplog):
    with GeminiServer(says("", "SAFETY")) as server:
        description = make(server, fallback=Fixed("thing", "dim", "bright")).describe(composite)
    assert description.object == "thing"
    assert description.describer.startswith("fixed (fallback for g")
    assert "SAFETY" in caplog.text


def test_a_second_description_differs_on_purpose(make, composite, attempt):
    first = Description("cat", ("bright", "warm"), ("dim", "cool"))
    other = "cat & (foreground) dazzling & (background) shaded"
    with GeminiServer(says(GOOD), says(other)) as server:
        description = make(server).describe(composite, [attempt(first, 0.25, -1), attempt(first, 0.5)])
    assert description.foreground == ("dazzling",), "an answer that repeats what was tried is asked again"
    asked, again = map(text, server.requests)
    assert "cat & (foreground) bright, warm & (background) dim, cool: harmony score 0.500" in asked
    assert "repeats" in again
    assert "harmony score" not in text_of_first_request(make, composite)


def text_of_first_request(make, composite):
    with GeminiServer() as server:
        make(server).describe(composite)
    return text(server.requests[0])


def test_descriptions_are_stored_and_need_no_network_afterwards(make, composite, attempt, tmp_path):
    folder = str(tmp_path / "cache")
    with GeminiServer(says(GOOD), says("cat & (foreground) dull & (background) sunny, bright")) as server:
        first = make(server, cache=folder).describe(composite)
        second = make(server, cache=folder).describe(composite, [attempt(first)])
        assert make(server, cache=folder).describe(composite) == first
    assert len(server.requests) == 2
    offline = make(server, cache=folder, attempts=1)
    assert offline.describe(composite) == first
    assert offline.describe(composite, [attempt(first, 0.1, -1), attempt(first, 0.9)]) == second
    with pytest.raises(DescriberError):
        offline.describe(composite, [attempt(first), attempt(second)])
    with pytest.raises(DescriberError):
        make(server, cache=folder, attempts=1, prompt="Other {vocabulary}").describe(composite)
    with pytest.raises(DescriberError):
        make(server, cache=folder, attempts=1, model="other").describe(composite)


def test_the_key_is_in_no_file_and_no_attribute(make, composite, tmp_path):
    with GeminiServer(says(f"{KEY} & (foreground) bright & (background) dim"), BUSY) as server:
        describer = make(server, cache=str(tmp_path / "cache"))
        describer.describe(composite)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".json" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in repr(vars(describer)) + repr(vars(describer.describer))


def test_requests_keep_the_pace(make, composite):
    with GeminiServer() as server:
        describer = make(server, requests_per_minute=300.0)
        for _ in range(3):
            describer.describe(composite)
    times = [request["time"] for request in server.requests]
    assert all(later - earlier > 0.15 for earlier, later in pairwise(times))


def test_time_is_bounded_when_nothing_helps(make, composite):
    start = time.monotonic()
    with GeminiServer(*["hang"] * 9) as server, pytest.raises(DescriberError):
        make(server, answers=1).describe(composite)
    assert time.monotonic() - start < 8


def test_imports_are_light():
    for name in ("gemini", "google_genai"):
        source = (Path(__file__).parents[2] / "diffharmon" / "describer" / f"{name}.py").read_text()
        assert "\nimport google" not in source
        assert "\nfrom google" not in source
