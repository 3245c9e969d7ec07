"""Lightning's part: each process harmonizes its own images and writes what it finishes at once.

Reading the next image and writing the last one happen in a thread each while an image is harmonized.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as processes
from annotated_types import Ge
from lightning import LightningModule
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch.utils.data import Dataset as TorchDataset

from diffharmon import images, panels, results
from diffharmon.errors import DiffharmonError
from diffharmon.metrics import MetricSet
from diffharmon.progress import ProgressBars
from diffharmon.protocols import Dataset, Logger, Method, Sample
from diffharmon.results.outcome import harmonized_attempts, total_cost, write_outcome
from diffharmon.types import Composite, Outcome

log = logging.getLogger(__name__)


class PredictTrainer(Trainer):
    """Lightning's trainer with a number of CPU threads.

    Args:
        threads: Threads of torch on the CPU; None leaves the choice to torch.
        arguments: As for ``lightning.Trainer``.
    """

    def __init__(self, *, threads: Annotated[int, Ge(1)] | None = None, **arguments: Any) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        super().__init__(**arguments)


@dataclass(frozen=True)
class Failure:
    """An image that could not be read or harmonized, and why."""

    name: str
    source: str
    error: str

    def to(self, device: torch.device | str) -> "Failure":
        """Return itself: there is nothing on a device."""
        return self


@dataclass(frozen=True)
class Finished:
    """A harmonized image with what is known about it."""

    composite: Composite
    outcome: Outcome
    seconds: float


class PendingDataset(TorchDataset):
    """The images still to do; one that cannot be read becomes a ``Failure`` instead of ending the run.

    While an image is in use, the next one of this process is prefetched: Lightning deals images out to processes in
    turn. Any other order works too, without that gain.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = list(indices)
        self.background = ThreadPoolExecutor(1, "read")
        self.ahead: dict[int, Future[Composite | Failure]] = {}

    def __len__(self) -> int:
        """Count the images still to do."""
        return len(self.indices)

    def __getitem__(self, position: int) -> Composite | Failure:
        """Hand out one image."""
        begun, self.ahead = self.ahead, {}
        item = begun[position].result() if position in begun else self.read(position)
        shared = processes.is_available() and processes.is_initialized()
        following = position + (processes.get_world_size() if shared else 1)
        if following < len(self):
            self.ahead = {following: self.background.submit(self.read, following)}
        return item

    def read(self, position: int) -> Composite | Failure:
        """Read one image."""
        index = self.indices[position]
        try:
            return self.dataset[index]
        except (DiffharmonError, OSError) as error:
            log.debug("%s cannot be read", self.dataset.name(index), exc_info=True)
            return Failure(self.dataset.name(index), "", explain(error))


def unbatch(batch: Sequence[Composite | Failure]) -> Composite | Failure:
    """Collate a batch of one: every image is optimized on its own."""
    return batch[0]


class HarmonizeModule(LightningModule):
    """Harmonizes one composite a predict step; an error of one image never ends the run.

    Args:
        method: What harmonizes; moved to the device with the module when it is a network.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def predict_step(self, batch: Composite | Failure, batch_index: int) -> Finished | Failure:
        """Harmonize; the ground truth is taken away first."""
        if isinstance(batch, Failure):
            return batch
        start, bars = time.perf_counter(), ProgressBars()
        try:
            outcome = self.method.harmonize(batch.blind(), bars)
        except (DiffharmonError, ValueError, RuntimeError, OSError, MemoryError) as error:
            log.debug("%s failed", batch.name, exc_info=True)
            return Failure(batch.name, batch.source, explain(error))
        finally:
            bars.close()
        if outcome.best.image.shape != batch.image.shape:
            batch = images.squash(batch, (outcome.best.image.shape[-2], outcome.best.image.shape[-1]))
        return Finished(batch, outcome, time.perf_counter() - start)


def explain(error: Exception) -> str:
    """Say in one line what went wrong with an image, and what helps where memory ran out."""
    text = " ".join(str(error).split()) or type(error).__name__
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text
    if memory:
        return (
            f"out of memory ({text[:200]}); try backbone.dtype=bfloat16, backbone.gradient_checkpointing=true, "
            "a smaller backbone.size, or sampler.direct_inversion=true with embedding=[]"
        )
    return text if isinstance(error, DiffharmonError) else f"{type(error).__name__}: {text}"


class ResultWriter(BasePredictionWriter):
    """Writes each image's folder, then its row, while the next image is harmonized.

    At most one image waits to be written, so that a crash loses no more than it and the one being harmonized; a row
    is on disk only after its pictures. An error in writing ends the run at the next image.

    Args:
        folder: The run's folder.
        record: What every image's record begins with: config, versions, seed.
        digest: The config's hash, in every row.
        metrics: What a result is measured by.
        loggers: Each gets every finished image.
    """

    def __init__(
        self,
        folder: Path,
        record: Mapping[str, Any],
        digest: str,
        metrics: MetricSet,
        loggers: Sequence[Logger] = (),
    ) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.record = dict(record)
        self.digest = digest
        self.metrics = metrics
        self.loggers = tuple(loggers)
        self.background = ThreadPoolExecutor(1, "write")
        self.unwritten: Future[None] | None = None

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Finished | Failure,
        batch_indices: Sequence[int] | None,
        batch: Composite | Failure,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Begin to write one image, once the one before it is written."""
        self.wait_for_write()
        self.unwritten = self.background.submit(self.write, prediction, trainer.global_rank)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See the last image written before the rows are read."""
        self.wait_for_write()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what is finished, also when the run is interrupted."""
        self.wait_for_write()

    def wait_for_write(self) -> None:
        """Wait until the image under way is written; raises what went wrong with it."""
        if self.unwritten is not None:
            wait([self.unwritten])  # An interrupt here leaves it to ``on_exception``.
            written, self.unwritten = self.unwritten, None
            written.result()

    @torch.no_grad()
    def write(self, prediction: Finished | Failure, rank: int) -> None:
        """Write one image: its pictures and record, then its row, then what a logger wants."""
        path = self.folder / f"rows-rank{rank}.jsonl"
        if isinstance(prediction, Failure):
            row = {"name": prediction.name, "source": prediction.source, "config_hash": self.digest, "status": "error"}
            results.append_row(path, {**row, "error": prediction.error})
            return
        row = self.row_or_error(prediction)
        folder = self.folder / results.safe_name(prediction.composite.name)
        write_outcome(folder, prediction.composite, prediction.outcome, {**self.record, "metrics": row})
        results.append_row(path, row)
        if self.loggers and rank == 0 and row["status"] == "ok":
            composite, best = prediction.composite, prediction.outcome.best.image
            panel = panels.comparison_parts(composite.image, best, composite.mask, composite.real)
            for logger in self.loggers:
                logger.image(composite.name, panel, row)

    def row_or_error(self, finished: Finished) -> dict[str, Any]:
        """Return the image's row; one that cannot be measured keeps its pictures and gets an error row."""
        try:
            return self.row(finished)
        except DiffharmonError as error:
            row = {"name": finished.composite.name, "source": finished.composite.source, "config_hash": self.digest}
            return {**row, "status": "error", "error": f"harmonized, but cannot be measured: {explain(error)}"}

    def row(self, finished: Finished) -> dict[str, Any]:
        """Flatten one image to a row."""
        composite, outcome = finished.composite, finished.outcome
        total = total_cost(outcome.costs.values())
        row = {
            "name": composite.name,
            "source": composite.source,
            "config_hash": self.digest,
            "status": "ok",
            "seed": self.record.get("seed"),
            "score": outcome.best.score.value,
            "reason": outcome.reason,
            "iterations": len(harmonized_attempts(outcome)),
            "seconds": finished.seconds,
            "network_calls": total.network_calls,
            "network_samples": total.network_samples,
        }
        return row | self.metrics.measure(Sample(composite, outcome.best.image, outcome.best.description))
