"""The image-editing service against a small local server: the picture that comes back, and every fault."""

import base64
import io
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "describer"))

from gemini_server import GeminiServer, error, pictures, says, text

from diffharmon.config import build, composed
from diffharmon.describer.fixed import Fixed
from diffharmon.errors import ModelError
from diffharmon.method.edits.google_genai import GoogleGenAI
from diffharmon.types import Composite

pytest.importorskip("google.genai")

KEY = "AIza-planted/key+0123456789="
BUSY = (429, error(429, "RESOURCE_EXHAUSTED", f"quota of {KEY} used up"))
WORDS = Fixed("cat", "dim cold", "bright")


def shows(data: bytes) -> dict:
    reply = says("Here it is.")
    inline = {"mimeType": "image/png", "data": base64.b64encode(data).decode()}
    reply["candidates"][0]["content"]["parts"].append({"inlineData": inline})
    return reply


def png(size=(48, 40), colour=(10, 200, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def composite():
    mask = torch.zeros(1, 90, 120)
    mask[:, 20:60, 30:80] = 1
    return Composite("subset/photo", "test", torch.full((3, 90, 120), 0.25), mask)


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)

    def made(server, **settings):
        quick = {"timeout": 0.4, "attempts": 3, "first_delay": 0.01, "longest_delay": 2.0, "size": 64}
        return GoogleGenAI(WORDS, endpoint=server.url, **{**quick, **settings})

    return made


def test_picture_and_instruction_are_sent_and_the_edit_comes_back(make, composite):
    with GeminiServer(shows(png())) as server:
        edit = make(server).edit(composite)
    (request,) = server.requests
    assert request["key"] == KEY
    assert "/models/gemini-2.5-flash-image:generateContent" in request["path"]
    assert "cat, which now looks dim, cold: make it look bright" in text(request)
    (sent,) = pictures(request)
    assert Image.open(io.BytesIO(sent)).size == (64, 48)
    assert edit.picture.shape == (3, 40, 48)
    torch.testing.assert_close(edit.picture[:, 5, 5] * 255, torch.tensor([10.0, 200.0, 30.0]))
    assert edit.description.background == ("bright",)


@pytest.mark.parametrize("first", [BUSY, "hang", "drop", says("I would rather talk."), shows(b"no picture")])
def test_passing_faults_are_overcome(make, composite, first):
    with GeminiServer(first, shows(png())) as server:
        assert make(server).edit(composite).picture.shape == (3, 40, 48)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([BUSY] * 3, r"cannot edit subset/photo: .*quota of \[key\] used up.*asked 3 times"),
        ([says("No.")] * 3, "answered without a picture: 'No.'"),
        ([says("", "IMAGE_SAFETY")], "blocked.*IMAGE_SAFETY"),
        ([(404, error(404, "NOT_FOUND", "no such model"))], r"does not have method\.source\.model=gemini-2\.5"),
    ],
)
def test_lasting_faults_are_one_clear_error_without_the_key(make, composite, replies, message):
    with GeminiServer(*replies) as server, pytest.raises(ModelError, match=message) as caught:
        make(server).edit(composite)
    assert KEY not in str(caught.value)


def test_the_choice_builds_without_a_key(monkeypatch):
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    words = ("describer=fixed", "describer.object=cat", "describer.foreground=dim", "describer.background=bright")
    source = build(composed(["method=editor", "method/source=google_genai", *words]).method).source
    with pytest.raises(ModelError, match=r"no key.*GOOGLE_API_KEY"):
        source.edit(Composite("photo", "test", torch.zeros(3, 64, 64), torch.ones(1, 64, 64)))
