"""A study's page and what the report makes of its answers."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffharmon.preference.answers import Answer, Session, write_session
from diffharmon.report.command import main as report
from diffharmon.study.command import main as study

LEFT, RIGHT = "structure=none", "structure=paper"


def data_of(path: Path) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")).astype(float)


@pytest.fixture(scope="module")
def page(sweep, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("study") / "page.html"
    study([str(sweep / "0"), str(sweep / "1"), "--output", str(path), "--images", "5", "--trials", "99"])
    return path


def test_the_page_holds_every_picture_and_asks_for_no_other_file(page):
    data = data_of(page)
    assert data["runs"] == [LEFT, RIGHT]
    assert len(data["images"]) == 5
    assert data["trials"] == 5, "as many as there are pairs"
    assert set(data["pictures"]) == {f"{i}/{kind}" for i in range(5) for kind in (0, 1, "composite", "spoiled")}
    text = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", page.read_text())
    assert not re.findall(r"https?:|src=\"(?!\")|url\(|fetch|localStorage|cookie", text)


def test_the_spoiled_picture_is_green_in_the_object_alone_and_the_outline_is_around_it(page):
    pictures = data_of(page)["pictures"]
    result, spoiled, composite = (picture(pictures[f"0/{kind}"]) for kind in (0, "spoiled", "composite"))
    scale = len(result) / 72  # of the toy pictures, whose object is at 20 to 60 and 30 to 70
    inside, outside = (
        (slice(int(28 * scale), int(52 * scale)), slice(int(38 * scale), int(62 * scale))),
        slice(int(14 * scale)),
    )
    assert (spoiled[inside][..., 1] - spoiled[inside][..., 0]).mean() > 20
    assert abs(spoiled[outside] - result[outside]).mean() < 3
    rim = composite[int(30 * scale) : int(50 * scale), int(26 * scale) : int(30 * scale)].mean(-1)
    assert rim.max() > 230
    assert rim.min() < 25


@pytest.mark.parametrize(
    ("given", "message"),
    [(["0"], "expected at least two, got 1"), (["0", "2"], r"none of the \d+ images .* has pictures")],
)
def test_runs_that_cannot_be_compared_are_refused(sweep, given, message, capsys):
    with pytest.raises(SystemExit) as stop:
        study([str(sweep / run) for run in given])
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_the_report_shows_what_was_preferred(sweep, tmp_path, capsys):
    answers = [Answer(f"photo_{i}", LEFT, RIGHT, "left" if i == 0 else "right") for i in range(6)]
    judged = [
        Answer(f"photo_{i}", *pair, "left", "colour") for i in range(2) for pair in ((LEFT, RIGHT), (RIGHT, LEFT))
    ]
    careless = (*answers, Answer("photo_0", LEFT, LEFT, "left", catch="right"))
    for name, session in (
        ("a.json", Session("people", tuple(answers))),
        ("b.json", Session("people", careless)),
        ("c.json", Session("a model", tuple(judged))),
    ):
        write_session(tmp_path / name, session)
    report([str(sweep), "--output", str(tmp_path), "--answers", str(tmp_path)])
    text = (tmp_path / "report.md").read_text()
    assert "## Harmony, judged by people" in text
    assert "2 sessions, 6 choices on 6 images, 0 ties. 1 left out" in text
    assert re.search(rf"\| {RIGHT} \| \*\*\+0\.\d\d .*\*\* \| 83 % \| 6 \|\n\| {LEFT} \| -0", text)
    assert "2 of 2 pairs shown in both orders were answered differently" in text
    assert "Colour, judged by a model" in (tmp_path / "report.html").read_text()
    assert "Colour, judged by a model" in (tmp_path / "report.tex").read_text()
    assert "judged by people" in capsys.readouterr().out
