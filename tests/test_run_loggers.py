"""Loggers around a run: each is closed, and one that fails costs no image."""

import pytest
from omegaconf import OmegaConf

from diffharmon import results
from diffharmon.errors import InputError, ResultError
from diffharmon.logger.csv import Csv
from diffharmon.run.loggers import open_loggers

RUN = ("dataset=mini", "dataset.limit=2", "method=reinhard", "metrics=[ihd256]", "trainer=cpu")


class ClosingLogger(Csv):
    """A CSV file that records how it was closed, and whose server may be down."""

    def __init__(self, down, **settings):
        super().__init__(**settings)
        self.down, self.closed = down, ""

    def close(self, error=""):
        self.closed = error or "finished"
        if self.down:
            raise ConnectionError("no route")


def nodes_of(down):
    return OmegaConf.create(
        {name: {"_target_": f"{__name__}.ClosingLogger", "filename": name, "down": name == down} for name in "abc"}
    )


def test_every_logger_is_closed(tmp_path):
    with open_loggers(nodes_of(None), tmp_path, {}) as loggers:
        pass
    assert [logger.logger.closed for logger in loggers] == ["finished"] * 3


def test_a_logger_that_cannot_be_closed_is_named_and_the_others_are_closed(tmp_path):
    with pytest.raises(ResultError, match="logger b: ConnectionError: no route"):  # noqa: SIM117
        with open_loggers(nodes_of("b"), tmp_path, {}) as loggers:
            pass
    assert [logger.logger.closed for logger in loggers] == ["finished"] * 3


def test_the_runs_own_error_comes_first(tmp_path):
    with (
        pytest.raises(InputError, match="an image failed"),
        open_loggers(nodes_of("b"), tmp_path, {}) as loggers,
    ):
        raise InputError("an image failed")
    assert [logger.logger.closed for logger in loggers] == ["an image failed"] * 3


@pytest.mark.parametrize("error", [ConnectionError("no route"), ZeroDivisionError("odd"), KeyError("loss")])
@pytest.mark.parametrize("part", ["image", "summary"])
def test_a_logger_that_fails_costs_no_image_and_is_named(tmp_path, monkeypatch, call_command, error, part):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(Csv, part, fail)
    done = call_command(tmp_path / "run", *RUN, "logger=[csv]")
    assert [row["status"] for row in results.read_rows(tmp_path / "run")] == ["ok"] * 2
    assert done.returncode == 2
    assert done.stdout.count("logger csv failed, the run goes on without it") == 1
    assert "not logged by logger csv: " + type(error).__name__ in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_metric_that_fails_is_the_row_of_that_image(tmp_path, monkeypatch, call_command):
    """One run has an image for each error, and one that is well."""
    from diffharmon.metrics import PixelMetrics

    errors = (OSError(28, "No space left"), OSError("encoder error"), ZeroDivisionError("odd"))
    measure, names = PixelMetrics.measure, []

    def fail_but_for_the_last(self, sample):
        names.extend({sample.composite.name} - set(names))
        number = names.index(sample.composite.name)
        if number < len(errors):
            raise errors[number]
        return measure(self, sample)

    monkeypatch.setattr(PixelMetrics, "measure", fail_but_for_the_last)
    done = call_command(tmp_path / "run", *RUN, f"dataset.limit={len(errors) + 1}")
    rows = {row["name"]: row for row in results.read_rows(tmp_path / "run")}
    assert [rows[name]["status"] for name in names] == ["error"] * 3 + ["ok"]
    for name, error in zip(names, errors, strict=False):
        assert rows[name]["stage"] == "measure"
        assert str(error) in rows[name]["error"]
        assert results.picture_folder(tmp_path / "run", rows[name]).joinpath("harmonized.png").is_file()
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
