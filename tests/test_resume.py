"""A run that is killed at any moment and started again ends with the rows of an uninterrupted one."""

import subprocess
import sys
import time

import pytest

from diffharmon import results


def start(folder):
    words = "describer.path=${asset:mini/triples.jsonl}"
    overrides = ["dataset=mini", "dataset.limit=6", "describer=file", words, "trainer=cpu", f"hydra.run.dir={folder}"]
    return subprocess.Popen([sys.executable, "-m", "diffharmon.run", *overrides], stderr=subprocess.DEVNULL)


def rows(folder):
    kept = [{key: value for key, value in row.items() if key != "seconds"} for row in results.read_rows(folder)]
    return sorted(kept, key=lambda row: row["name"])


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait() == 0
    run = start(broken)
    while run.poll() is None and len(results.read_rows(broken)) < 2:
        time.sleep(0.05)
    run.kill()
    run.wait()
    finished = {path: path.stat().st_mtime_ns for path in broken.glob("*/record.json")}
    before = {row["name"] for row in results.read_rows(broken)}
    assert 2 <= len(before) < 6
    assert start(broken).wait() == 0
    assert rows(broken) == rows(whole)
    assert all(path.stat().st_mtime_ns == finished[path] for path in finished if path.parent.name in before)
