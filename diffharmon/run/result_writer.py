"""Writes what is finished: each image's folder, then its row, while the next image is harmonized."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from lightning import LightningModule
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from diffharmon import results
from diffharmon.command.interrupts import StopRequest
from diffharmon.method.finite import require_numbers
from diffharmon.metrics import MetricSet
from diffharmon.protocols import Logger, Sample
from diffharmon.results import panels
from diffharmon.results.names import folder_name
from diffharmon.results.outcome import harmonized_attempts, total_cost, write_outcome
from diffharmon.results.provenance.inputs import as_columns
from diffharmon.results.provenance.weights import file_digest
from diffharmon.run.advice import explain
from diffharmon.run.module import Failure, Finished
from diffharmon.run.progress import RunProgress
from diffharmon.types import Composite

log = logging.getLogger(__name__)

NOTHING: Mapping[str, Any] = MappingProxyType({})


class ResultWriter(BasePredictionWriter):
    """Writes each image's folder, then its row, while the next image is harmonized.

    At most one batch waits to be written, so that a crash loses no more than it and the one being harmonized; a row
    is on disk only after its pictures. What one image raises becomes its row; an error of the disk ends the run at the
    next batch.

    Args:
        folder: The run's folder.
        record: What every image's record begins with: config, its hash, versions, seed.
        metrics: What a result is measured by.
        loggers: Each gets every finished image.
        folders: Folder names by image name; by default as ``names.folder_name`` makes them.
        digests: Digests of what each image is made from, by image name; filled while images are read.
        shared_digests: Digests that all images share, such as that of the weights.
        progress: Counts finished images.
        stop: Handles signals while images are harmonized.
        shard: Name of the part of the images that this run takes; empty for all.
        side_pictures: Whether pictures for people are written beside the results.
    """

    def __init__(
        self,
        folder: Path,
        record: Mapping[str, Any],
        metrics: MetricSet,
        loggers: Sequence[Logger] = (),
        *,
        folders: Mapping[str, str] = NOTHING,
        digests: Mapping[str, Mapping[str, str]] = NOTHING,
        shared_digests: Mapping[str, str] = NOTHING,
        progress: RunProgress | None = None,
        stop: StopRequest | None = None,
        shard: str = "",
        side_pictures: bool = True,
    ) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.record = dict(record)
        self.metrics = metrics
        self.loggers = tuple(loggers)
        self.folders = folders
        self.digests = digests
        self.shared_digests = shared_digests
        self.progress = progress
        self.stop = stop
        self.side_pictures = side_pictures
        self.rows_name = f"rows-{shard}-rank" if shard else "rows-rank"
        self.background = ThreadPoolExecutor(1, "write")
        self.unwritten: Future[None] | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals instead of Lightning, which would ignore them until the run is over."""
        if self.stop is not None:
            self.stop.processes = getattr(trainer.strategy.launcher, "procs", ())
            self.stop.install()

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Sequence[Finished | Failure],
        batch_indices: Sequence[int] | None,
        batch: Sequence[Composite | Failure],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Begin to write a batch, once the one before it is written; one that was not begun has nothing to write."""
        self.wait_for_write()
        if prediction:
            self.unwritten = self.background.submit(self.write_all, prediction, trainer.global_rank)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See the last image written before the rows are read."""
        self.wait_for_write()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what is finished, also when the run is interrupted."""
        self.wait_for_write()

    def wait_for_write(self) -> None:
        """Wait until the batch under way is written; raises what went wrong with it."""
        if self.unwritten is not None:
            wait([self.unwritten])  # An interrupt here leaves it to ``on_exception``.
            written, self.unwritten = self.unwritten, None
            written.result()

    def write_all(self, predictions: Sequence[Finished | Failure], rank: int) -> None:
        """Write the images of a batch, one after the other."""
        for prediction in predictions:
            self.write(prediction, rank)

    @torch.no_grad()
    def write(self, prediction: Finished | Failure, rank: int) -> None:
        """Write one image: its pictures and record, then its row, then what a logger wants."""
        parts: dict[str, Tensor] = {}
        row = self.error_row(prediction) if isinstance(prediction, Failure) else self.written(prediction, parts)
        results.append_row(self.folder / f"{self.rows_name}{rank}.jsonl", row)
        if self.progress is not None:
            self.progress.finish(row)
        if isinstance(prediction, Finished) and self.loggers and rank == 0 and row["status"] == "ok":
            panel = parts or side_parts(prediction)
            for logger in self.loggers:
                logger.image(prediction.composite.name, panel, row)

    def written(self, finished: Finished, parts: dict[str, Tensor]) -> dict[str, Any]:
        """Measure an image and write its pictures and record; returns its row.

        One that cannot be measured keeps its pictures and gets an error row.

        Args:
            finished: The image.
            parts: Receives the pictures of its comparison, where they are written.

        Raises:
            OSError: The disk is full, or the folder cannot be written to.
        """
        composite = finished.composite
        try:
            row = self.row(finished)
            require_numbers(row)
        except Exception as error:
            reason = f"harmonized, but cannot be measured: {explain(error)}"
            row = self.error_row(Failure(composite.name, composite.source, reason, "measure"))
        place = self.folder / results.IMAGES / self.folder_of(composite.name)
        try:
            if self.side_pictures:
                parts |= side_parts(finished)
            result = write_outcome(place, composite, finished.outcome, {**self.record, "metrics": row}, parts)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's; Pillow also raises OSError, without a number, where it cannot encode an image
            log.debug("%s cannot be written", composite.name, exc_info=True)
            return self.error_row(Failure(composite.name, composite.source, explain(error), "write"))
        return {**row, "result_digest": file_digest(result)}

    def folder_of(self, name: str) -> str:
        """Return the name of an image's folder."""
        return self.folders.get(name) or folder_name(name)

    def identity(self, name: str, source: str, status: str) -> dict[str, Any]:
        """Return what every row begins with."""
        return {
            "name": name,
            "source": source,
            "config_hash": self.record.get("config_hash"),
            "status": status,
            "folder": self.folder_of(name),
            **as_columns({**self.digests.get(name, {}), **self.shared_digests}),
        }

    def error_row(self, failure: Failure) -> dict[str, Any]:
        """Return the row of an image that failed: the stage and the reason."""
        return {
            **self.identity(failure.name, failure.source, "error"),
            "stage": failure.stage,
            "error": failure.error,
        }

    def row(self, finished: Finished) -> dict[str, Any]:
        """Flatten one image to a row."""
        composite, outcome = finished.composite, finished.outcome
        total = total_cost(outcome.costs.values())
        row = {
            **self.identity(composite.name, composite.source, "ok"),
            "mask_source": composite.mask_source,
            "seed": self.record.get("seed"),
            "score": outcome.best.score.value,
            "reason": outcome.reason,
            "iterations": len(harmonized_attempts(outcome)),
            "seconds": finished.seconds,
            "network_calls": total.network_calls,
            "network_samples": total.network_samples,
        }
        return row | self.metrics.measure(Sample(composite, outcome.best.image, outcome.best.description))


def side_parts(finished: Finished) -> dict[str, Float[Tensor, "3 y x"]]:
    """Return the pictures of an image's comparison by caption."""
    composite = finished.composite
    return panels.comparison_parts(composite.image, finished.outcome.best.image, composite.mask, composite.real)
