import io
import logging

import pytest

from diffharmon.run.progress import RunProgress
from diffharmon.types import Event


def rows():
    yield {"name": "a", "status": "ok", "gain": 2.0}
    yield {"name": "b", "status": "error", "error": "no mask"}
    yield {"name": "c", "status": "ok", "gain": 3.0}


def test_without_a_terminal_each_image_is_one_line_as_it_finishes(caplog):
    caplog.set_level(logging.INFO)
    progress = RunProgress(3, lambda row: f"{row['name']} good", shown=False)
    with progress.drawn():
        for number, row in enumerate(rows(), 1):
            progress.begin(row["name"]).close()
            progress.finish(row)
            assert len(caplog.messages) == number
    assert caplog.messages == ["1/3 a good", "2/3 b: failed: no mask", "3/3 c good"]


def test_on_a_terminal_one_bar_shows_count_name_gain_and_failures(monkeypatch, caplog):
    screen = io.StringIO()
    monkeypatch.setattr("sys.stderr", screen)
    progress = RunProgress(3, lambda row: pytest.fail("a line beside the bar"), lambda row: row["gain"], shown=True)
    with progress.drawn():
        for row in rows():
            bars = progress.begin(row["name"])
            bars(Event("edit", 0, 1, {}))
            bars.close()
            progress.finish(row)
        text = str(progress.bar)
    assert "3/3" in text
    assert "c" in text
    assert "gain +2.50 dB" in text
    assert "1 failed" in text
    assert "edit" in screen.getvalue()
