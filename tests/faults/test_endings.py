"""Real processes that are killed, stopped, starved and crossed: each ends as it should, and nothing is lost.

All of it is slow; ``conftest.py`` prints the table of how everything tried ended.
"""

import os
import random
import signal
import time

import numpy as np
import pytest
from PIL import Image

from diffharmon import results
from diffharmon.files import ASSETS

COMMON = ("method=reinhard", "metrics=[full]", "trainer=cpu")
COUNT = 16
DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
KILLS = 20

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A run and a sweep over small photos, of which each takes a fraction of a second, and a run of the toy model."""
    folder = tmp_path_factory.mktemp("photos")
    folder.chmod(0o755)  # one test reads them as another user
    mask = np.zeros((32, 48), np.uint8)
    mask[8:24, 12:36] = 255
    for number in range(COUNT):
        photo = np.random.default_rng(number).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        for kind, array in (("images", photo), ("masks", mask)):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{number}.png")
    photos = ("dataset=folder", f"dataset.images={folder / 'images'}", f"dataset.masks={folder / 'masks'}")
    words = ("describer=fixed", "describer.object=dog", "describer.foreground=dim", "describer.background=bright")
    model = (*words, "evaluator=none", "metrics=[full]", "trainer=cpu", "sampler.steps=2", "dataset.limit=3")
    return {
        "run": (*photos, *COMMON),
        "sweep": ("-m", *photos, *COMMON, "dataset.limit=6", "seed=0,1"),
        "model": (*photos, *model),
    }


def place(folder, overrides):
    return f"hydra.{'sweep' if '-m' in overrides else 'run'}.dir={folder}"


def pictures_of(folder):
    """All result pictures of a run or sweep, by their place."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("harmonized.png"))}


def results_of(folder, rows_of):
    places = [folder, *sorted(folder.glob("[0-9]"))]
    return {path.name if path != folder else "": rows_of(path) for path in places}, pictures_of(folder)


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_killed_at_random_moments_nothing_is_lost(tmp_path, command, tally, rows_of, commands, kind):
    overrides = commands[kind]
    whole = command(*overrides, place(tmp_path / "whole", overrides), limit=300)
    assert whole.code == 0, whole.error
    expected = results_of(tmp_path / "whole", rows_of)
    chance = random.Random(0)
    for attempt in range(KILLS):
        folder = tmp_path / str(attempt // 4)  # four kills each, then the run is completed
        killed = command(
            *(*overrides, place(folder, overrides)), signal=signal.SIGKILL, after=chance.uniform(0, whole.seconds)
        )
        if attempt % 4 < 3:
            tally(f"kills of a {kind}", "hang" if killed.hang else "as expected")
            continue
        done = command(*overrides, place(folder, overrides), limit=300)
        same = done.code == 0 and results_of(folder, rows_of) == expected
        outcome = "as expected" if same else "silent" if done.code == 0 else done.outcome()
        assert tally(f"kills of a {kind}", outcome), (done.error, folder)


@pytest.mark.parametrize("kind", ["run", "sweep", "model"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_in_one_line_at_whatever_moment(tmp_path, command, tally, rows_of, commands, kind, number, code):
    overrides = commands[kind]
    whole = command(*overrides, place(tmp_path / "whole", overrides), limit=300)
    chance = random.Random(number)
    for attempt in range(4):
        folder = tmp_path / str(attempt)
        after = chance.uniform(0.3, whole.seconds * 0.8)
        done = command(*overrides, place(folder, overrides), signal=number, after=after)
        last = done.error.strip().splitlines()[-1:]
        clear = done.code in (code, 0) and (done.code == 0 or "goes on" in last[0])
        assert tally("signals", "as expected" if clear else done.outcome(codes=(code,))), (done, after)
    done = command(*overrides, place(folder, overrides), limit=300)
    assert done.code == 0, done.error
    assert results_of(folder, rows_of) == results_of(tmp_path / "whole", rows_of)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_two_processes_after_their_images(tmp_path, start_command, tally, number):
    process = start_command(tmp_path, "dataset=mini", "dataset.limit=12", *COMMON[:-1], *DDP)
    while len(results.read_rows(tmp_path)) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    clear = process.returncode == 128 + number and "goes on" in error and "Traceback" not in error
    assert tally("signals", "as expected" if clear else "traceback" if "Traceback" in error else "unclear"), error


@pytest.mark.parametrize("size", [500, 1_000, 2_000, 4_000, 6_000])
@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_full_disk_is_one_line(tmp_path, command, tally, commands, size, kind):
    overrides = commands[kind]
    done = command(*overrides, place(tmp_path / "run", overrides), file_size=size)
    assert tally("disk full", done.outcome()), done.error


@pytest.mark.parametrize("kind", ["nowhere", "inside a file", "locked", "locked pictures", "too long"])
def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path, command, tally, commands, kind):
    (tmp_path / "file").touch()
    folder = {
        "nowhere": "/proc/diffharmon/run",
        "inside a file": tmp_path / "file" / "run",
        "too long": tmp_path / ("x" * 300),
    }.get(kind, tmp_path / "run")
    user = None
    if kind.startswith("locked"):
        locked = tmp_path / "run" / ("images" if "pictures" in kind else "")
        locked.mkdir(parents=True)
        locked.chmod(0o500)
        user = 65534 if os.geteuid() == 0 else None  # root may write everywhere
    if user:
        for path in (tmp_path, *tmp_path.parents[:2]):
            path.chmod(0o755)
        if "pictures" in kind:
            os.chown(tmp_path / "run", user, user)
    done = command(*commands["run"], f"hydra.run.dir={folder}", user=user)
    assert tally("read-only", done.outcome()), done.error


def test_two_writers_never_mix(tmp_path, command, forking, tally, rows_of, commands):
    other = forking("torch")
    assert command(*commands["run"], f"hydra.run.dir={tmp_path / 'whole'}").code == 0
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        for writer in (command, other):
            writer.start(*commands["run"], f"hydra.run.dir={folder}")
            time.sleep(0.1 * attempt)
        both = sorted((writer.finish() for writer in (command, other)), key=lambda done: done.code)
        assert both[0].code == 0, both[0].error
        refused = both[1].outcome("is being written by process", str(folder))
        assert tally("two writers", refused), both[1].error
        assert rows_of(folder) == rows_of(tmp_path / "whole")


def test_fewer_images_than_processes_work(tmp_path, run_command):
    done = run_command(tmp_path, "dataset=mini", "dataset.limit=1", *COMMON[:-1], *DDP)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in results.read_rows(tmp_path)] == ["ok"]


def test_a_sweep_names_each_failing_job(tmp_path, command, tally):
    missing = (f"backbone.path=/no/such/model,{ASSETS / 'clip'}", "evaluator=none", "metrics=[full]", "trainer=cpu")
    done = command("-m", "dataset=mini", "dataset.limit=1", *missing, f"hydra.sweep.dir={tmp_path}")
    assert tally("sweeps", done.outcome("2 of 2 jobs did not complete")), done.error
