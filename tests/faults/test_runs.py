"""What goes wrong around a run: each ends in one clear line and the right exit code, and nothing is lost.

The command runs in this process, with methods that need no model.
"""

import json
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffharmon import images, results
from diffharmon.run.folder_lock import only_writer

COMMON = ("method=reinhard", "metrics=[full]", "trainer=cpu")
MINI = ("dataset=mini", "dataset.limit=12", *COMMON)


@pytest.fixture
def photos(tmp_path, composite):
    """Two composites with masks, in folders; returns the overrides for them."""
    for name in ("a", "b"):
        images.write_image(tmp_path / "images" / f"{name}.png", composite.image)
        images.write_image(tmp_path / "masks" / f"{name}.png", composite.mask)
    return ("dataset=folder", f"dataset.images={tmp_path / 'images'}", f"dataset.masks={tmp_path / 'masks'}", *COMMON)


def assert_one_line(done, message):
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def touch_mask(folder):
    path = folder / "masks" / "b.png"
    array = np.asarray(Image.open(path)).copy()
    array[:4, :4] = 255
    Image.fromarray(array).save(path)


def touch_photo(folder):
    path = folder / "images" / "b.png"
    array = np.asarray(Image.open(path)).copy()
    array[0, 0] ^= 1
    Image.fromarray(array).save(path)


def touch_result(folder):
    path = folder / "run" / "images" / "b" / "harmonized.png"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(("change", "kind"), [(touch_mask, "mask"), (touch_photo, "photo"), (touch_result, "result")])
def test_what_changed_is_redone_and_reported(tmp_path, photos, call_command, change, kind):
    assert call_command(tmp_path / "run", *photos).returncode == 0
    before = {row["name"]: row for row in results.read_rows(tmp_path / "run")}
    change(tmp_path)
    done = call_command(tmp_path / "run", *photos)
    assert done.returncode == 0, done.stderr
    assert f"1 done before, 1 redone ({kind} changed)" in done.stdout
    after = {row["name"]: row for row in results.read_rows(tmp_path / "run")}
    assert after["a"] == before["a"]
    assert (after["b"][f"{kind}_digest"] != before["b"][f"{kind}_digest"]) == (kind != "result")


def test_an_image_that_can_no_longer_be_read_does_not_keep_its_old_result(tmp_path, photos, call_command):
    assert call_command(tmp_path / "run", *photos).returncode == 0
    (tmp_path / "images" / "b.png").write_text("not an image")
    assert_one_line(call_command(tmp_path / "run", *photos), "1 of 2 images failed; the first, b")


def test_damaged_rows_are_skipped_with_a_warning(tmp_path, photos, call_command):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rows-rank0.jsonl").write_bytes(b'42\n{"name": 3}\n\xff\xfe\n[1]\n')
    done = call_command(tmp_path / "run", *photos)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 lines are damaged and skipped" in done.stdout
    assert [row["status"] for row in results.read_rows(tmp_path / "run")] == ["ok", "ok"]


@pytest.mark.parametrize("place", ["run.json", "rows-rank0.jsonl", "images"])
def test_something_in_the_way_is_one_line(tmp_path, photos, call_command, place):
    path = tmp_path / "run" / place
    path.parent.mkdir()
    if place == "images":
        path.write_text("a file")
    else:
        path.mkdir()
    done = call_command(tmp_path / "run", *photos)
    assert_one_line(done, place)


def test_a_run_folder_that_is_a_file_is_one_line(tmp_path, photos, call_command):
    (tmp_path / "run").write_text("")
    assert_one_line(call_command(tmp_path / "run", *photos), str(tmp_path / "run"))


def test_a_second_writer_is_refused(tmp_path, photos, call_command):
    with only_writer(tmp_path / "run"):
        assert_one_line(call_command(tmp_path / "run", *photos), f"is being written by process {os.getpid()}")


def test_images_without_a_row_are_named(tmp_path, photos, call_command):
    done = call_command(tmp_path / "run", *photos, "+trainer.limit_predict_batches=1")
    assert_one_line(done, "1 of 2 images left no row: b")


def test_a_seed_that_changes_nothing_is_reported(tmp_path, photos, call_command):
    assert "seed=1 changes nothing" in call_command(tmp_path / "one", *photos, "seed=1").stdout
    assert "changes nothing" not in call_command(tmp_path / "none", *photos).stdout


def test_names_that_are_paths_or_the_runs_own_files_stay_apart(tmp_path, composite, call_command):
    names = ("..", "foo", "foo ", "Foo", "rows-rank0.jsonl", "photo (1)")
    for name in names:
        images.write_image(tmp_path / "images" / f"{name}.png", composite.image)
        images.write_image(tmp_path / "masks" / f"{name}.png", composite.mask)
    folders = (f"dataset.images={tmp_path / 'images'}", f"dataset.masks={tmp_path / 'masks'}")
    done = call_command(tmp_path / "out" / "run", "dataset=folder", *folders, *COMMON)
    assert done.returncode == 0, done.stderr
    rows = results.read_rows(tmp_path / "out" / "run")
    places = {results.picture_folder(tmp_path / "out" / "run", row) for row in rows}
    assert {row["name"] for row in rows} == {*names} - {".."}, "a file that begins with a dot is hidden"
    assert len({place.name.lower() for place in places}) == len(rows)
    assert all((place / "harmonized.png").is_file() for place in places)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"run"}


def test_a_deep_photo_keeps_its_depth_and_its_background(tmp_path, composite, call_command):
    deep = (
        composite.image + torch.rand(composite.image.shape, generator=torch.Generator().manual_seed(0)) / 300
    ).clamp(0, 1)
    images.write_image(tmp_path / "deep.png", deep, depth=16)
    images.write_image(tmp_path / "mask.png", composite.mask)
    single = ("dataset=single", f"dataset.image={tmp_path / 'deep.png'}", f"dataset.mask={tmp_path / 'mask.png'}")
    assert call_command(tmp_path / "run", *single, *COMMON).returncode == 0
    before, after = (
        images.read_image(path)
        for path in (tmp_path / "deep.png", tmp_path / "run" / "images" / "deep" / "harmonized.png")
    )
    assert after.depth == 16
    outside = composite.mask.expand(3, -1, -1) == 0
    assert torch.equal(after.image[outside], before.image[outside])
    assert not torch.equal(after.image, before.image)
    (row,) = results.read_rows(tmp_path / "run")
    assert row["mask_source"] == "grey"


def test_a_sweep_reports_itself(tmp_path, photos, call_command):
    missing = ("dataset=single", "dataset.image=/no/such.png,/nor/this.png", "dataset.mask=/no/mask.png", *COMMON)
    done = call_command(tmp_path / "bad", "-m", *missing)
    assert done.returncode == 2
    assert "2 of 2 jobs did not complete; 0: " in done.stderr
    records = [json.loads((tmp_path / "bad" / job / "run.json").read_text()) for job in "01"]
    assert [record["status"] for record in records] == ["failed", "failed"]
    assert "/nor/this.png" in records[1]["error"]
    done = call_command(tmp_path / "good", "-m", *photos, "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert "have exactly the same results" in done.stdout
    assert "diffharmon-report" in done.stdout
    assert json.loads((tmp_path / "good" / "0" / "run.json").read_text())["status"] == "completed"


def test_a_sweep_over_experiments_has_one_folder(tmp_path, monkeypatch, capsys, photos):
    from diffharmon import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["diffharmon", "-m", *photos, "name=one,two"])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    run.main()
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    (sweep,) = (tmp_path / "multirun").glob("*/*")
    assert {path.name for path in sweep.iterdir() if path.is_dir()} >= {"0", "1"}
