"""Lightning's part: each process reads and harmonizes its own images; an error of one image never ends the run.

The next image is read in a thread while one is harmonized; `result_writer` writes the last one in another.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

import torch
import torch.distributed as processes
from annotated_types import Ge, Le
from lightning import LightningModule
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from diffharmon import images
from diffharmon.errors import InputError
from diffharmon.method.batch import harmonize_all, one_by_one
from diffharmon.method.finite import require_finite_outcome
from diffharmon.protocols import Dataset, Method
from diffharmon.results.provenance.inputs import image_digests
from diffharmon.run.advice import explain
from diffharmon.run.progress import ProgressBars
from diffharmon.types import Composite, Event, Observer, Outcome, Watcher, ignore

log = logging.getLogger(__name__)

MAX_BATCH = 256  # each image of a batch has a thread
MAX_THREADS = 1024  # far above any machine's cores; OpenMP ends the process where it cannot start them all


class PredictTrainer(Trainer):
    """Lightning's trainer with a number of CPU threads.

    Args:
        threads: Threads of torch on the CPU; None leaves the choice to torch.
        batch: Images that a process harmonizes side by side, where the method can.
        arguments: As for ``lightning.Trainer``.
    """

    def __init__(
        self,
        *,
        threads: Annotated[int, Ge(1), Le(MAX_THREADS)] | None = None,
        batch: Annotated[int, Ge(1), Le(MAX_BATCH)] = 1,
        **arguments: Any,
    ) -> None:
        self.batch = batch
        if threads is not None:
            torch.set_num_threads(threads)
        super().__init__(**arguments)


@dataclass(frozen=True)
class Failure:
    """An image that could not be read or harmonized: why, and in which stage."""

    name: str
    source: str
    error: str
    stage: str = "read"

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

    While images are in use, the next ones of this process are prefetched: Lightning deals images out to processes in
    turn. Any other order works too, without that gain.

    Args:
        dataset: All images.
        indices: Those to do.
        known: Further digests by name, such as that of an image's words.
        read: Images that were read already, by index.
        prefetched: How many images are read ahead.

    Attributes:
        digests: What each image that was read is made from, by name; taken when it was read.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: Sequence[int],
        known: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        read: Mapping[int, Composite] = MappingProxyType({}),
        prefetched: int = 1,
    ) -> None:
        self.prefetched = prefetched
        self.dataset = dataset
        self.indices = list(indices)
        self.background = ThreadPoolExecutor(1, "read")
        self.ahead: dict[int, Future[Composite | Failure]] = {}
        self.digests: dict[str, Mapping[str, str]] = dict(known)
        self.held = dict(read)

    def __len__(self) -> int:
        """Count the images still to do."""
        return len(self.indices)

    def __getitem__(self, position: int) -> Composite | Failure:
        """Hand out one image."""
        begun, self.ahead = self.ahead, {}
        item = begun[position].result() if position in begun else self.read(position)
        stride = process_share()[1]
        following = range(position + stride, len(self), stride)[: self.prefetched]
        self.ahead = {p: begun[p] if p in begun else self.background.submit(self.read, p) for p in following}
        return item

    def read(self, position: int) -> Composite | Failure:
        """Read one image."""
        index = self.indices[position]
        name = self.dataset.name(index)
        try:
            composite = self.held.pop(index) if index in self.held else self.dataset[index]
            self.digests[name] = {**self.digests.get(name, {}), **image_digests(self.dataset, index, composite)}
        except Exception as error:
            log.debug("%s cannot be read", name, exc_info=True)
            return Failure(name, "", explain(error))
        return composite


def process_share() -> tuple[int, int]:
    """Return this process's rank and the number of processes."""
    shared = processes.is_available() and processes.is_initialized()
    return (processes.get_rank(), processes.get_world_size()) if shared else (0, 1)


class Shares(Sampler[int]):
    """Deals positions out to processes in turn, none twice; a process may get none. A requested stop ends it early.

    Lightning's own sampler repeats images until all processes have as many, and fails with fewer images than processes.

    Args:
        count: Positions to deal out.
        stopped: Asked before each image whether to begin no other one.
    """

    def __init__(self, count: int, stopped: Callable[[], bool] = lambda: False) -> None:
        self.count, self.stopped = count, stopped

    def __iter__(self) -> Iterator[int]:
        """Deal out this process's positions."""
        rank, processes = process_share()
        for position in range(rank, self.count, processes):
            if self.stopped():
                return
            yield position

    def __len__(self) -> int:
        """Count this process's positions."""
        rank, processes = process_share()
        return len(range(rank, self.count, processes))


class Stages(Watcher):
    """Follows one image: passes events on and knows the stage under way, or the one that failed.

    Args:
        observe: Receives the events.
    """

    def __init__(self, observe: Observer) -> None:
        self.observe = observe
        self.current = "harmonize"

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        self.observe(event)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note the stage while it is under way, and for good where it fails."""
        outer, self.current = self.current, name
        yield
        self.current = outer


def require_readable(dataset: Dataset) -> Composite:
    """Read the only image of a run: what is wrong with it is reported before a model loads.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return dataset[0]
    except Exception as error:
        raise InputError(explain(error)) from error


def load_share(images: PendingDataset, stopped: Callable[[], bool], batch: int = 1) -> DataLoader:
    """Return a loader of this process's share of the images in lists; it ends early when a stop is requested."""
    return DataLoader(images, batch_size=batch, sampler=Shares(len(images), stopped), collate_fn=list)


class HarmonizeModule(LightningModule):
    """Harmonizes a list of composites a predict step; whatever one of them raises becomes its row alone.

    Args:
        method: What harmonizes; moved to the device with the module when it is a network.
        bars: Makes the progress bars of images of these names.
        stopped: Asked before each batch whether to begin no other one.
        side_by_side: Whether the images of a batch, and the descriptions of one, share calls where the method can.
    """

    def __init__(
        self,
        method: Method,
        bars: Callable[[str], ProgressBars] = lambda name: ProgressBars(),
        stopped: Callable[[], bool] = lambda: False,
        side_by_side: bool = False,
    ) -> None:
        super().__init__()
        self.method = method
        self.side_by_side = side_by_side
        self.bars = bars
        self.stopped = stopped
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer images than processes

    def predict_step(self, batch: Sequence[Composite | Failure], batch_index: int) -> list[Finished | Failure]:
        """Harmonize; the ground truth is taken away first. Nothing where a stop was requested before this batch."""
        if self.stopped():
            return []  # Lightning fetches one batch ahead, so the sampler alone would stop one batch too late.
        composites = [item for item in batch if isinstance(item, Composite)]
        harmonized = iter(self.harmonize(composites) if composites else [])
        return [item if isinstance(item, Failure) else next(harmonized) for item in batch]

    def harmonize(self, composites: Sequence[Composite]) -> list[Finished | Failure]:
        """Harmonize composites together. Each has its own seconds and an equal share of what is nobody's own."""
        start, bars = time.perf_counter(), self.bars(", ".join(composite.name for composite in composites))
        stages = [Stages(bars if number == 0 else ignore) for number in range(len(composites))]
        try:
            harmonize = harmonize_all if self.side_by_side else one_by_one
            outcomes = harmonize(self.method, [composite.blind() for composite in composites], stages)
        finally:
            bars.close()
        own = [0.0 if isinstance(o, Exception) else total_seconds(o) for o in outcomes]
        rest = (time.perf_counter() - start - sum(own)) / len(own)
        together = len(composites) if self.side_by_side else 1
        found = zip(composites, outcomes, stages, own, strict=True)
        return [
            finish(composite, outcome, stage, seconds + rest, together) for composite, outcome, stage, seconds in found
        ]


def total_seconds(outcome: Outcome) -> float:
    """Add up the seconds of an outcome's stages."""
    return sum((cost.seconds for cost in outcome.costs.values()), 0.0)


def finish(
    composite: Composite, outcome: Outcome | Exception, stages: Stages, seconds: float, together: int
) -> Finished | Failure:
    """Return what became of one image of so many together; the ground truth is squashed where the result is."""
    try:
        if isinstance(outcome, Exception):
            raise outcome
        require_finite_outcome(outcome)
        if outcome.best.image.shape != composite.image.shape:
            composite = images.squash(composite, (outcome.best.image.shape[-2], outcome.best.image.shape[-1]))
    except Exception as error:
        log.debug("%s failed", composite.name, exc_info=True)
        return Failure(composite.name, composite.source, explain(error, stages.current, together), stages.current)
    return Finished(composite, outcome, seconds)
