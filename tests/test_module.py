import re
import threading
from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning import Trainer
from omegaconf import OmegaConf

from diffharmon import results
from diffharmon.config import composed
from diffharmon.errors import InputError
from diffharmon.metrics import MetricSet, PixelMetrics
from diffharmon.protocols import Logger
from diffharmon.run.advice import REMEDIES, explain
from diffharmon.run.module import Failure, Finished, HarmonizeModule, PendingDataset
from diffharmon.run.result_writer import ResultWriter
from diffharmon.types import Attempt, Description, Outcome, Score


class Breaks:
    """A method that fails as real ones do."""

    def __init__(self, error):
        self.error = error

    def harmonize(self, composite, observe):
        raise self.error


class Untouched:
    """A method that gives the composite back."""

    def harmonize(self, composite, observe):
        assert composite.real is None
        best = Attempt(-1, composite.image, Score(0.0), Description("cat", ("dim",), ("bright",)), number=-1)
        return Outcome(best, (best,), "test")


def test_running_out_of_memory_says_what_helps(composite):
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 GB")):
        (failure,) = HarmonizeModule(Breaks(error)).predict_step([composite], 0)
        assert isinstance(failure, Failure)
        assert "out of memory" in failure.error
        assert "backbone.dtype=bfloat16" in failure.error


def test_where_images_share_memory_fewer_of_them_are_advised():
    assert "trainer.batch of fewer than 4, backbone" in explain(MemoryError(), "inversion", 4)
    assert "trainer.batch" not in explain(MemoryError(), "inversion")


def test_the_advice_is_that_of_the_stage_in_which_memory_ran_out(composite):
    class Optimizes:
        def harmonize(self, composite, observe):
            with observe.stage("unconditional"):
                raise torch.OutOfMemoryError("CUDA out of memory")

    (failure,) = HarmonizeModule(Optimizes()).predict_step([composite], 0)
    assert failure.stage == "unconditional"
    assert "embedding.unconditional.decode=half" in failure.error
    assert "gradient_checkpointing" not in explain(MemoryError(), "recompose")


def test_every_setting_that_is_advised_exists():
    config = composed(["backbone=sd2_base", "experiment=paper", "~structure.pidinet"])
    for advice in REMEDIES.values():
        for key in re.findall(r"([a-z_.]+)=(?!\[)", advice):
            assert key == "output" or OmegaConf.select(config, key) is not None, key


def test_an_error_of_one_image_is_kept_with_its_reason(composite):
    (failure,) = HarmonizeModule(Breaks(ValueError("odd\nthing"))).predict_step([composite], 0)
    assert (failure.name, failure.source, failure.error) == ("toy", "test", "ValueError: odd thing")
    assert explain(InputError("plain")) == "plain"


def test_the_ground_truth_comes_back_only_after_harmonizing(composite):
    (finished,) = HarmonizeModule(Untouched()).predict_step([composite], 0)
    assert isinstance(finished, Finished)
    assert finished.composite.real is composite.real
    assert finished.seconds > 0


def test_what_cannot_be_read_is_a_failure_of_that_image(composite):
    class Dataset:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index == 1:
                raise InputError("b.png is damaged")
            return composite

        def name(self, index):
            return "ab"[index]

    pending = PendingDataset(Dataset(), [1, 0])
    assert pending[0] == Failure("b", "", "b.png is damaged")
    assert pending[1] is composite


def test_the_next_image_is_read_while_one_is_harmonized(composite):
    begun = threading.Event()

    class Dataset:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 1:
                begun.set()
            return replace(composite, name="abc"[index])

        def name(self, index):
            return "abc"[index]

    pending = PendingDataset(Dataset(), [0, 1, 2])
    assert pending[0].name == "a"
    assert begun.wait(10)
    assert [pending[position].name for position in (2, 0, 1, 2, 2)] == ["c", "a", "b", "c", "c"]


class Watching(Logger):
    """A logger that notes what was on disk when it was told of an image, and in which thread it was told."""

    def __init__(self, folder):
        self.folder, self.seen, self.threads = folder, [], set()

    def image(self, name, panel, row):
        self.seen.append([row["name"] for row in results.read_rows(self.folder)])
        self.threads.add(threading.current_thread())


@pytest.fixture
def writing(composite, tmp_path):
    """A writer that logs to ``Watching``, its Lightning arguments, and what gives it an image of a name."""
    metrics = MetricSet({"full": PixelMetrics()})
    writer = ResultWriter(tmp_path, {"seed": 0, "config_hash": "digest"}, metrics, [Watching(tmp_path)])
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    module = HarmonizeModule(Untouched())

    def write(name):
        finished = module.predict_step([replace(composite, name=name)], 0)
        writer.write_on_batch_end(trainer, module, finished, None, [composite], 0, 0)

    return writer, partial(writer.on_predict_end, trainer, module), partial(writer.on_exception, trainer, module), write


def test_rows_are_written_in_order_behind_the_run_and_all_are_there_at_its_end(writing, tmp_path):
    writer, end, _, write = writing
    for name in "abc":
        write(name)
    end()
    assert writer.loggers[0].seen == [["a"], ["a", "b"], ["a", "b", "c"]]
    assert threading.main_thread() not in writer.loggers[0].threads
    for row in results.read_rows(tmp_path):
        made = {path.name for path in (tmp_path / "images" / row["name"]).iterdir()}
        assert {"harmonized.png", "comparison.png", "composite.jpg", "result.jpg", "real.jpg", "record.json"} <= made


def test_an_interrupted_run_keeps_the_image_that_is_finished(writing, tmp_path):
    _, _, interrupted, write = writing
    write("a")
    interrupted(KeyboardInterrupt())
    assert [row["name"] for row in results.read_rows(tmp_path)] == ["a"]


def test_an_image_without_its_pictures_gets_no_row_and_ends_the_run(writing, tmp_path):
    _, _, interrupted, write = writing
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a").write_text("in the way of the image's folder")
    write("a")
    with pytest.raises(OSError, match="exists"):
        write("b")
    interrupted(OSError())
    assert results.read_rows(tmp_path) == []
