"""Patience and pace."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from diffharmon.language_model.faults import TransientError
from diffharmon.language_model.retry import Pace, Retry, retry_after


def test_waits_double_vary_and_stay_bounded(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)

    def fail():
        raise TransientError("busy")

    for _ in range(40):
        with pytest.raises(TransientError, match=r"busy \(asked 6 times\)"):
            Retry(6, 1.0, 5.0).run(fail)
    for number, (low, high) in enumerate([(0.5, 1.5), (1, 3), (2, 5), (4, 5), (5, 5)]):
        seen = waits[number::5]
        assert low <= min(seen) <= max(seen) <= high
        assert low == high or max(seen) - min(seen) > 0.3 * (high - low)


def test_only_passing_faults_are_retried():
    calls = []

    def fail():
        calls.append(1)
        raise ValueError("lasting")

    with pytest.raises(ValueError, match="lasting"):
        Retry(5, 0.0).run(fail)
    assert len(calls) == 1


def test_retry_after_is_a_lower_bound(monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    answers = iter([TransientError("busy", 7.0), None])

    def ask():
        error = next(answers)
        if error:
            raise error
        return "done"

    assert Retry(3, 0.1, 10.0).run(ask) == "done"
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "12"}, 12, 12),
        ({"retry-after": " 1.5 "}, 1.5, 1.5),
        ({"Retry-After": "soon"}, 0, 0),
        ({"Retry-After": "-3"}, 0, 0),
        ({}, 0, 0),
    ],
)
def test_retry_after_in_seconds(headers, low, high):
    assert low <= retry_after(headers) <= high


@pytest.mark.parametrize(("seconds", "low", "high"), [(600, 580, 600), (-60, 0, 0)])
def test_retry_after_as_a_date(seconds, low, high):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    assert low <= retry_after({"Retry-After": date}) <= high


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="attempts=0"):
        Retry(0)
    with pytest.raises(ValueError, match="-1"):
        Pace(-1.0)


def test_the_pace_holds_over_threads():
    pace, moments = Pace(1200.0), []

    def ask():
        pace.wait()
        moments.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(moments) - min(moments) >= 7 * 0.05 * 0.95
