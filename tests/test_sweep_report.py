import json
import logging

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from diffharmon.errors import ConfigError
from diffharmon.report import sweep


def end_job(folder, number, outcome=None, mode="MULTIRUN"):
    """What Hydra calls at the end of a job; an error as outcome is a failure."""
    config = OmegaConf.create(
        {
            "hydra": {
                "mode": mode,
                "job": {"num": number},
                "overrides": {"task": [f"seed={number}"]},
                "runtime": {"output_dir": str(folder / str(number))},
            }
        }
    )
    failed = isinstance(outcome, Exception)
    done = JobReturn(status=JobStatus.FAILED if failed else JobStatus.COMPLETED, _return_value=outcome)
    sweep.SweepReport().on_job_end(config, done)


def test_a_failing_job_is_logged_at_once_and_recorded(tmp_path, caplog):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "run.json").write_text(json.dumps({"config": {"seed": 1}}))
    end_job(tmp_path, 0, 30.0)
    assert not caplog.messages
    end_job(tmp_path, 1, ConfigError("seed:\n expected a number"))
    assert caplog.messages == ["job 1 (seed=1) failed: seed: expected a number"]
    end_job(tmp_path, 2, ZeroDivisionError("division by zero"))
    records = [json.loads((tmp_path / str(number) / "run.json").read_text()) for number in range(3)]
    assert [record["status"] for record in records] == ["completed", "failed", "failed"]
    assert records[1] == {"config": {"seed": 1}, "status": "failed", "error": "seed: expected a number"}
    assert records[2]["error"] == "ZeroDivisionError: division by zero"
    failed = sweep.summarize(sweep.jobs(tmp_path))
    assert sweep.failure_message(failed, 3) == (
        "2 of 3 jobs did not complete; 1: seed: expected a number; 2: ZeroDivisionError: division by zero"
    )


def test_a_single_run_is_no_job_of_a_sweep(tmp_path, caplog):
    end_job(tmp_path, 0, ConfigError("x"), mode="RUN")
    assert not caplog.messages
    assert not (tmp_path / "0").exists()


def test_a_killed_job_counts_as_not_completed(tmp_path):
    sweep.record_status(tmp_path / "0", "running")
    assert [job.status for job in sweep.summarize(sweep.jobs(tmp_path))] == ["running"]


@pytest.mark.parametrize("text", ["", "[1]", '{"status"', "\xff"])
def test_a_damaged_record_is_replaced(tmp_path, text):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "run.json").write_text(text, encoding="latin-1")
    sweep.record_status(tmp_path / "0", "failed", "x")
    assert [job.error for job in sweep.jobs(tmp_path)] == ["x"]


def test_jobs_with_equal_results_are_named(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    for number, value in enumerate([30.0, 30.0, 31.0]):
        sweep.record_status(tmp_path / str(number), "completed", means={"fpsnr": value, "seconds": number})
    sweep.summarize(sweep.jobs(tmp_path))
    assert caplog.messages == ["jobs 0, 1 have exactly the same results: what they vary changes nothing"]
