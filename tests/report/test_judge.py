"""The judge's command on toy runs, against a small local server."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "describer"))

from gemini_server import GeminiServer, pictures, says

from diffharmon.preference.answers import read_sessions
from diffharmon.study.judging import main

pytest.importorskip("google.genai")


def test_a_service_judges_runs_and_the_answers_are_a_file_for_the_report(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GOOGLE_API_KEY", "AIza-planted")
    path = tmp_path / "judge.json"
    chosen = ["--gemini", "gemini-toy", "--axes", "brightness", "--images", "3", "--output", str(path)]
    with GeminiServer(respond=lambda request: says("T")) as server:
        main([str(sweep / "0"), str(sweep / "1"), *chosen, "--endpoint", server.url])
    assert len(server.requests) == 3 * 2
    assert all(len(pictures(request)) == 3 for request in server.requests)
    (session,) = read_sessions([path])
    assert session.judge == "gemini-toy"
    assert {answer.choice for answer in session.answers} == {"tie"}
    printed = capsys.readouterr().out
    assert "Brightness, judged by gemini-toy" in printed
    assert "6 ties, 0 of 3 pairs shown in both orders were answered differently" in printed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "expected one of --model and --gemini"),
        (["--gemini", "--model", "x"], "expected one of --model and --gemini"),
        (["--gemini", "--axes", "taste"], "expected some of brightness, colour, plausibility, got taste"),
    ],
)
def test_wrong_options_are_refused(sweep, given, message, capsys):
    with pytest.raises(SystemExit):
        main([str(sweep), *given])
    assert message in capsys.readouterr().err
