"""Rows do not depend on how many processes the images are dealt out to, or on how those were started."""

import pytest

WORDS = ("describer=file", "describer.path=${asset:mini/triples.jsonl}")
RUN = ("dataset=mini", "dataset.limit=5", *WORDS, "metrics=[full]", "sampler.steps=3", "name=processes")
ATTENTION = "[cross_attention,self_attention]"
JOBS = f"structure={ATTENTION},[]"
TWO_PROCESSES = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


def shares(folder):
    """How many images each of two processes finished."""
    return [len((folder / f"rows-rank{rank}.jsonl").read_text().splitlines()) for rank in (0, 1)]


def test_two_processes_give_the_rows_of_one_baseline(tmp_path, run_command, call_command, rows_of):
    baseline = ("dataset=mini", "dataset.limit=3", "method=reinhard", "metrics=[ihd256]", "output=minimal")
    one, two = tmp_path / "one", tmp_path / "two"
    assert call_command(one, *baseline, "trainer=cpu").returncode == 0
    done = run_command(two, *baseline, *TWO_PROCESSES)
    assert done.returncode == 0, done.stderr
    assert shares(two) == [2, 1], "each process does its own images, none twice"
    assert rows_of(two) == rows_of(one)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, run_command, jobs_of):
    folder = tmp_path_factory.mktemp("one")
    done = run_command(folder, "-m", *RUN, JOBS, "trainer=cpu")
    assert done.returncode == 0, done.stderr
    jobs = jobs_of(folder)
    assert [len(jobs[job]) for job in "01"] == [5, 5]
    assert all(row["status"] == "ok" and row["network_calls"] > 0 for job in jobs.values() for row in job)
    return jobs


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(one_process, tmp_path, run_command, rows_of):
    done = run_command(tmp_path, *RUN, f"structure={ATTENTION}", *TWO_PROCESSES)
    assert done.returncode == 0, done.stderr
    assert shares(tmp_path) == [3, 2], "each process does its own images, none twice"
    assert rows_of(tmp_path) == one_process["0"]


@pytest.mark.slow
def test_joblib_gives_the_rows_of_one_process(one_process, tmp_path, run_command, jobs_of):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="hydra/launcher=parallel is not installed")
    done = run_command(tmp_path, "-m", *RUN, JOBS, "trainer=cpu", "hydra/launcher=parallel")
    assert done.returncode == 0, done.stderr
    assert jobs_of(tmp_path) == one_process
