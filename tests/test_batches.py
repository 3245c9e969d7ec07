"""`trainer.batch`: several images at once in a run, with the rows and results of one at a time."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffharmon import results
from diffharmon.config import composed
from diffharmon.dataset.mini import Mini
from diffharmon.errors import ConfigError, InputError
from diffharmon.method.identity import Identity
from diffharmon.run import execute
from diffharmon.run.module import Failure, Finished, HarmonizeModule, PendingDataset
from diffharmon.types import Attempt, Cost, Description, Outcome, Score

RUN = ("dataset=mini", "dataset.limit=3", "metrics=[full]", "trainer=cpu", "sampler.steps=2")


def pictures(folder):
    return {path.parent.name: np.asarray(Image.open(path), int) for path in folder.glob("images/*/harmonized.png")}


def test_a_run_in_batches_has_the_rows_and_pictures_of_one_image_at_a_time(toy_settings, tmp_path, monkeypatch):
    read = Mini.__getitem__

    def read_all_but_one(self, index):
        if index == 1:
            raise InputError("planned")
        return read(self, index)

    monkeypatch.setattr(Mini, "__getitem__", read_all_but_one)
    rows = {}
    for batch in (1, 2):
        config = composed([*RUN, *toy_settings, f"trainer.batch={batch}"])
        with pytest.raises(InputError, match="1 of 3 images failed"):
            execute(config, tmp_path / str(batch))
        rows[batch] = {row["name"]: row for row in results.read_rows(tmp_path / str(batch))}
    assert list(rows[1]) == list(rows[2])
    assert sorted(row["status"] for row in rows[2].values()) == ["error", "ok", "ok"]
    for one, other in zip(rows[1].values(), rows[2].values(), strict=True):
        for key in ("status", "error", "config_hash", "network_calls", "network_samples", "iterations", "reason"):
            assert one.get(key) == other.get(key), key
        if one["status"] == "ok":
            assert other["fpsnr"] == pytest.approx(one["fpsnr"], abs=1e-3)
            assert other["seconds"] > 0
    alone, together = pictures(tmp_path / "1"), pictures(tmp_path / "2")
    assert len(together) == 2
    assert all(np.abs(together[name] - alone[name]).max() <= 1 for name in alone)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "2").glob("images/*/harmonized.png")}
    monkeypatch.undo()
    execute(composed([*RUN, *toy_settings, "trainer.batch=3"]), tmp_path / "2")  # goes on in batches of another size
    assert {row["status"] for row in results.newest_rows(tmp_path / "2", list(rows[2]))} == {"ok"}
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_method_that_takes_one_image_at_a_time_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "diffharmon"):
        execute(composed([*RUN[:4], "method=reinhard", "trainer.batch=4"]), tmp_path)
    assert "trainer.batch=4 changes nothing: ColorTransfer takes one image at a time" in caplog.text
    assert len(results.read_rows(tmp_path)) == 3


@pytest.mark.parametrize("batch", [0, -1, 1000, "two"])
def test_a_batch_that_is_none_is_refused(batch):
    with pytest.raises(ConfigError, match=r"trainer\.batch: expected"):
        composed(["trainer=cpu", f"trainer.batch={batch}"])


class Together(Identity):
    """A method that knows batches: the second image fails, and each has seconds of its own."""

    def harmonize_batch(self, composites, observers):
        for composite, observe in zip(composites, observers, strict=True):
            assert composite.real is None
            with observe.stage("edit"):
                pass
        return [self.outcome(composite) for composite in composites]

    def outcome(self, composite):
        if composite.name == "b":
            return InputError("planned")
        best = Attempt(-1, composite.image, Score(0.0), Description("cat", ("dim",), ("bright",)), number=-1)
        return Outcome(best, (best,), "test", {"edit": Cost(3.0 if composite.name == "a" else 5.0)})


def test_what_cannot_be_read_or_harmonized_keeps_its_place_in_the_batch(composite):
    batch = [replace(composite, name="a"), Failure("damaged", "", "planned"), replace(composite, name="b")]
    module = HarmonizeModule(Together(), side_by_side=True)
    first, damaged, failed, last = module.predict_step([*batch, replace(composite, name="c")], 0)
    assert isinstance(first, Finished)
    assert first.composite.real is composite.real
    assert damaged is batch[1]
    assert (failed.name, failed.error) == ("b", "planned")
    assert last.seconds - first.seconds == pytest.approx(2.0), "its own seconds, and as much of the rest as others"


def test_no_batch_is_begun_after_a_stop(composite):
    assert HarmonizeModule(Together(), stopped=lambda: True).predict_step([composite], 0) == []


def test_the_images_of_the_next_batch_are_read_ahead(composite):
    class Dataset:
        def __len__(self):
            return 6

        def __getitem__(self, index):
            return replace(composite, name=self.name(index))

        def name(self, index):
            return "abcdef"[index]

    pending = PendingDataset(Dataset(), range(6), prefetched=2)
    assert pending[0].name == "a"
    assert sorted(pending.ahead) == [1, 2]
    assert [pending[position].name for position in range(1, 6)] == list("bcdef")
