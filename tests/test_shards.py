"""Shards of a run: each takes its share, one writer a shard, and the same command without a shard merges them."""

import json
import time

import pytest

from diffharmon import results
from diffharmon.config import composed
from diffharmon.errors import ConfigError, InputError
from diffharmon.report import sweep
from diffharmon.run import execute, folder_lock
from diffharmon.run.folder_lock import only_writer
from diffharmon.run.shards import Shard

RUN = ("dataset=mini", "dataset.limit=4", "method=reinhard", "metrics=[ihd256]", "trainer=cpu", "output=minimal")


@pytest.mark.parametrize("total", [0, 1, 7, 7404])
def test_every_image_is_in_one_shard(total):
    shares = [Shard(number, 8).share(total) for number in range(8)]
    assert sorted(index for share in shares for index in share) == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["8/8", "-1/8", "3", "a/b", "1/0", "3/8/2"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=r"shard: expected NUMBER/COUNT"):
        Shard.parse(text)


def run(folder, shard=None):
    return execute(composed([*RUN, *([] if shard is None else [f"shard={shard}"])]), folder)


def test_shards_of_one_folder_merge_to_the_rows_and_means_of_one_run(tmp_path, rows_of):
    whole = run(tmp_path / "whole")
    for number in (2, 0):
        run(tmp_path / "shards", f"{number}/3")
    assert "means" not in json.loads((tmp_path / "shards" / "run.json").read_text()), "shard 1 is missing"
    run(tmp_path / "shards", "1/3")
    record = json.loads((tmp_path / "shards" / "run.json").read_text())
    assert record["means"]["mse"] == pytest.approx(whole["mse"], rel=1e-12), "the last shard knows all rows"
    assert record["config_hash"] == json.loads((tmp_path / "whole" / "run.json").read_text())["config_hash"]
    assert rows_of(tmp_path / "shards") == rows_of(tmp_path / "whole")
    files = sorted(path.name for path in (tmp_path / "shards").glob("rows*.jsonl"))
    assert files == [f"rows-shard{number}of3-rank0.jsonl" for number in range(3)]
    modified = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("rows*.jsonl")}
    assert run(tmp_path / "shards") == pytest.approx(record["means"])
    assert {path: path.stat().st_mtime_ns for path in modified} == modified, "the merge computes nothing anew"


def test_the_merge_does_what_a_lost_shard_left(tmp_path, rows_of):
    run(tmp_path, "0/2")
    run(tmp_path)
    assert len(rows_of(tmp_path)) == 4
    assert len(results.read_rows(tmp_path)) == 4, "nothing twice"


def test_one_writer_a_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "BRIEFLY", 0.2)
    with only_writer(tmp_path, "shard0of2"):
        with only_writer(tmp_path, "shard1of2"):
            pass
        for other in ("shard0of2", "shard0of3", ""):
            with pytest.raises(InputError, match="is being written by process"), only_writer(tmp_path, other):
                pass
    with only_writer(tmp_path):
        begun = time.monotonic()
        with pytest.raises(InputError, match="is being written by process"), only_writer(tmp_path, "shard0of2"):
            pass
        assert time.monotonic() - begun < 5


def test_a_setting_in_shards_is_one_job_that_is_complete_with_its_last_shard(tmp_path):
    folder = tmp_path / "0"
    results.write_json(folder / "run.json", {"means": {"psnr": 30.0}})
    sweep.record_status(folder, "completed", shard="0/2")
    assert [job.status for job in sweep.jobs(tmp_path)] == ["running"]
    sweep.record_status(folder, "failed", "out of memory", shard="1/2")
    assert [(job.status, job.error) for job in sweep.jobs(tmp_path)] == [("failed", "out of memory")]
    sweep.record_status(folder, "completed", shard="1/2")
    assert [job.status for job in sweep.jobs(tmp_path)] == ["completed"]
    assert json.loads((folder / "run.json").read_text()) == {"means": {"psnr": 30.0}}, "shards never write it"


@pytest.mark.slow
def test_a_sweep_in_shards_has_a_folder_a_setting(tmp_path, call_command, jobs_of):
    swept = ("-m", "hydra=shards", *RUN[:2], *RUN[3:], "method=identity,reinhard", "shard=0/2,1/2")
    done = call_command(tmp_path, *swept)
    assert done.returncode == 0, done.stderr
    assert {job: len(rows) for job, rows in jobs_of(tmp_path).items()} == {"0": 4, "1": 4}
    assert [job.status for job in sweep.jobs(tmp_path)] == ["completed", "completed"]
