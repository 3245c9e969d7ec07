"""A judge inside the loop: results are scored against their composite by a service that prefers brighter pictures."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "describer"))

from gemini_server import GeminiServer, pictures, says

from diffharmon.config import build, composed
from diffharmon.errors import DescriberError, InputError
from diffharmon.evaluator.vlm_judge import GeminiJudge, VLMJudge
from diffharmon.protocols import Evaluator
from diffharmon.types import Description, ignore

pytest.importorskip("google.genai")
WORDS = Description("cat", ("dim",), ("bright",))


def brighter(request):
    _, first, second = (np.asarray(Image.open(io.BytesIO(data))).mean() for data in pictures(request))
    return says("T" if abs(first - second) < 1 else ("A" if first > second else "B"))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "AIza-planted")
    with GeminiServer(respond=brighter) as started:
        yield started


def test_results_are_scored_against_the_composite_on_every_axis(server, composite):
    judge = GeminiJudge(endpoint=server.url, axes=("brightness", "colour"), side=64)
    assert isinstance(judge, Evaluator)
    beside = judge.beside(composite)
    assert isinstance(beside, Evaluator)
    assert beside.score(composite.image, composite.mask, WORDS).value == 0
    assert not server.requests, "nothing is asked about the composite itself"
    lighter = torch.where(composite.mask > 0, composite.image * 1.5, composite.image).clamp(0, 1)
    darker = torch.where(composite.mask > 0, composite.image * 0.5, composite.image)
    assert beside.score(lighter, composite.mask, WORDS).terms == {"brightness": 1, "colour": 1}
    assert beside.score(darker, composite.mask, WORDS).value == -1
    assert len(server.requests) == 2 * 2 * 2
    with pytest.raises(InputError, match="compares a result with its composite"):
        judge.score(composite.image, composite.mask, WORDS)


def test_the_loop_binds_the_judge_to_each_composite(server, composite, toy_settings):
    settings = [setting for setting in toy_settings if not setting.startswith("evaluator=")]
    chosen = ("evaluator=gemini_judge", f"evaluator.endpoint={server.url}", "evaluator.axes=[plausibility]")
    outcome = build(composed([*settings, *chosen, "sampler.steps=2", "structure=[]"]).method).harmonize(
        composite, ignore
    )
    assert len(server.requests) == 2, "one result, one axis, both orders"
    untouched, attempt = outcome.attempts
    assert untouched.score.value == 0
    assert attempt.score.value in (-1, 0, 1)
    assert outcome.best is (attempt if attempt.score.value > 0 else untouched)


def test_a_model_that_is_not_there_is_named(composite, tmp_path):
    judge = VLMJudge(str(tmp_path / "absent")).beside(composite)
    with pytest.raises(DescriberError, match=r"absent.*\n.*evaluator\.model"):
        judge.score(composite.image * 0.5, composite.mask, WORDS)
