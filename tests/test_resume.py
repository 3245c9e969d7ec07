"""Runs and sweeps that are killed and started again end with the rows and tables of uninterrupted ones."""

import os
import re
import signal
import time

import pytest

from diffharmon import results
from diffharmon.logger.wandb import run_id
from diffharmon.report import command as report

WORDS = ("describer=file", "describer.path=${asset:mini/triples.jsonl}", "metrics=[full]", "trainer=cpu")
RUN = ("dataset=mini", "dataset.limit=6", *WORDS)
# What keeps the structure, how the result gets into the photo and how many steps it takes: 12 jobs.
SWEEP = (
    "-m",
    "dataset=mini",
    "dataset.limit=3",
    *WORDS,
    "name=choices",
    "structure=[],[cross_attention,self_attention]",
    "recomposer=detail,feather",
    "sampler.steps=2,4,8",
    "logger=[wandb,csv]",
)
JOBS = 12
# No model: what is tested is the run around it.
BASELINE = ("dataset=mini", "dataset.limit=6", "method=reinhard", "metrics=[ihd256]", "trainer=cpu", "output=minimal")


def kill_when(process, reached):
    """Kill a command and all it started, which leaves nothing the chance to tidy up."""
    while not reached():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finished(folder):
    """When the record of each image that has a row was written."""
    marks = {}
    for path in folder.rglob("rows-rank*.jsonl"):
        for row in results.read_rows(path.parent):
            record = results.picture_folder(path.parent, row) / "record.json"
            marks[record] = record.stat().st_mtime_ns
    return marks


def tables(folder):
    """Both tables of the sweep's report, without its folder and the column of seconds."""
    report.main([str(folder)])
    text = (folder / "report.md").read_text().replace(f"{folder.parent.name}/{folder.name}/", "")
    lines = [line.split(" | ") for line in text.splitlines()]
    column = next(line.index("seconds an image") for line in lines if "seconds an image" in line)
    runs = [line[:column] + line[column + 1 :] if line[0].startswith("| structure=") else line for line in lines[:20]]
    return runs + lines[20:], (folder / "report.csv").read_text()


def test_a_killed_baseline_goes_on_where_it_was(tmp_path, start_command, call_command, rows_of):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    kill_when(start_command(broken, *BASELINE), lambda: len(results.read_rows(broken)) >= 2)
    marks = finished(broken)
    assert 2 <= len(marks) < 6
    for folder in (broken, whole):
        assert call_command(folder, *BASELINE).returncode == 0
    assert len(rows_of(whole)) == 6
    assert rows_of(broken) == rows_of(whole)
    assert marks.items() <= finished(broken).items(), "no finished image was computed again"


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path, start_command, run_command, rows_of):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_command(whole, *RUN).returncode == 0
    kill_when(start_command(broken, *RUN), lambda: len(results.read_rows(broken)) >= 2)
    marks = finished(broken)
    assert 2 <= len(marks) < 6
    assert run_command(broken, *RUN).returncode == 0
    assert rows_of(broken) == rows_of(whole)
    assert marks.items() <= finished(broken).items()


@pytest.mark.slow
def test_a_sweep_killed_twice_ends_with_the_report_of_an_uninterrupted_one(
    tmp_path, start_command, run_command, jobs_of
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = run_command(whole, *SWEEP)
    assert done.returncode == 0, done.stderr
    expected = jobs_of(whole)
    assert [len(expected[str(number)]) for number in range(JOBS)] == [3] * JOBS
    # While the models of job 3 load, then between two images of job 7.
    kill_when(start_command(broken, *SWEEP), (broken / "3" / "run.json").is_file)
    first = finished(broken)
    assert {record.parents[2].name for record in first} == {"0", "1", "2"}
    kill_when(start_command(broken, *SWEEP), lambda: results.read_rows(broken / "7"))
    second = finished(broken)
    assert {record.parents[2].name for record in second} == set("01234567")
    assert 7 * 3 + 1 <= len(second) < 8 * 3
    assert first.items() <= second.items()
    done = run_command(broken, *SWEEP)
    assert done.returncode == 0, done.stderr
    assert jobs_of(broken) == expected, "as many rows, and the same"
    assert second.items() <= finished(broken).items(), "no finished image was computed again"
    assert tables(broken) == tables(whole)
    intervals = [cell for line in tables(broken)[0] for cell in line if re.search(r"\d \[[\d.]+, [\d.]+\]", cell)]
    assert len(intervals) >= JOBS * 7
    ids = [{path.name.rpartition("-")[2] for path in broken.glob(f"{job}/wandb/offline-run-*")} for job in expected]
    assert len(ids) == len(set.union(*ids)) == JOBS, "an interrupted job goes on in its own W&B run"


def test_a_run_killed_while_its_wandb_id_was_written_gets_one(tmp_path):
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "id").write_text("")
    made = run_id(tmp_path)
    assert len(made) == 12
    assert run_id(tmp_path) == made
