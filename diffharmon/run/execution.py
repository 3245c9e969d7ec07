"""One run: find what is missing in its folder, harmonize it, record and log what came out."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from diffharmon.command.interrupts import Interrupted, StopRequest
from diffharmon.errors import ResultError
from diffharmon.report.sweep import add_to_record
from diffharmon.results.summary import describe_row, gain_of, log_summary
from diffharmon.results.versions import versions
from diffharmon.run.dry_run import announce
from diffharmon.run.folder_lock import only_writer
from diffharmon.run.shards import Shard

if TYPE_CHECKING:  # they import torch, which takes seconds: the command answers first
    from diffharmon.protocols import Dataset, Logger
    from diffharmon.types import Composite

log = logging.getLogger(__name__)


def execute(config: DictConfig, folder: Path) -> dict[str, float]:
    """Run one job into ``folder`` and return the means over its images.

    A folder that holds rows of the same configuration is continued: only what is missing or changed is done.

    Args:
        config: As ``diffharmon.config.composed`` or ``prepare`` return it.
        folder: The run's folder.

    Raises:
        DiffharmonError: The configuration or the models cannot be used, another run writes to the folder, or some
            images failed; the others are finished.
        OSError: The disk is full, or the folder cannot be written to.
        Interrupted: A signal requested a stop; the image at hand was finished.
    """
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    first = getattr(rank_zero_only, "rank", 0) in (0, None)
    with only_writer(folder, Shard.parse(config.shard).name) if first else nullcontext():
        return harmonize_all(config, folder, first)


def harmonize_all(config: DictConfig, folder: Path, first: bool) -> dict[str, float]:
    """Do what is missing in a run's folder, as the only writer of its record; see ``execute``.

    Args:
        config: The configuration.
        folder: The run's folder.
        first: Whether this is the first process of the run, which logs, and writes what all processes share.
    """
    from diffharmon import results
    from diffharmon.config import build
    from diffharmon.config.choices import recorded_choices
    from diffharmon.results.provenance.configuration import config_hash
    from diffharmon.results.provenance.weights import weights_digest
    from diffharmon.run.loggers import open_loggers
    from diffharmon.run.module import require_readable
    from diffharmon.run.resuming import resume, word_digests

    resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    dataset = build(config.dataset)
    names = [dataset.name(index) for index in range(len(dataset))]
    shard = Shard.parse(resolved.pop("shard", None))
    share = shard.share(len(names))
    own = [names[index] for index in share]
    words = word_digests(config, own)
    resumed = resume(folder, resolved, dataset, words, weights_digest(resolved), share)
    pending = [index for index in share if names[index] not in resumed.done]
    if first:
        if resumed.done or resumed.changed:
            log.info("%s", resumed)
        results.drop_rows(folder, {names[index] for index in pending})
    read = {0: require_readable(dataset)} if len(dataset) == 1 and pending else {}
    digest = config_hash(resolved)
    ran, chosen = versions(), recorded_choices(config)
    record = {"config": resolved, "config_hash": digest, "versions": ran, "seed": config.seed, "choices": chosen}
    logged = {**resolved, "choices": chosen, "commit": ran.get("commit", "")}
    with open_loggers(config.logger if first else {}, folder, logged) as loggers:
        listed = True
        if pending:
            if first and chosen.get("sweep"):
                announce(config, len(pending))
            work = Pending(dataset, names, pending, words, read)
            shown = harmonize_pending(config, folder, work, record, loggers, first)
            listed = shown  # without a terminal each image has its line already
        return conclude(folder, names, own, loggers, listed) if first else {}


def conclude(
    folder: Path, names: Sequence[str], own: Sequence[str], loggers: "Sequence[Logger]", listed: bool
) -> dict[str, float]:
    """Record and log the means of a run, or of its shard, whose images are all done.

    Args:
        folder: The run's folder.
        names: All images.
        own: Those of this shard.
        loggers: Receive the rows and means.
        listed: Whether to list every image.

    Raises:
        ResultError: Some images left no row or no picture.
    """
    from diffharmon import results

    every = results.newest_rows(folder, names)
    rows = every if len(own) == len(names) else results.newest_rows(folder, own)
    means = results.means(rows)
    if len(every) == len(names) or len(own) == len(names):
        add_to_record(folder, means=results.means(every))  # of the shards the last one knows all rows
    for logger in loggers:
        logger.summary(rows, means)
    missing = results.missing_rows(own, rows) or results.missing_pictures(folder, rows)
    if missing:
        log.error("%s", missing)
    log_summary(rows, results.read_columns(folder), folder, listed)
    if missing:
        raise ResultError(missing)
    return means


@dataclass(frozen=True)
class Pending:
    """What a run has to do.

    Attributes:
        dataset: All images.
        names: Their names.
        indices: Those that are not done.
        words: Digests of prepared words by name.
        read: Images that were read already, by index; they are let go as they are done.
    """

    dataset: "Dataset"
    names: Sequence[str]
    indices: Sequence[int]
    words: Mapping[str, Mapping[str, str]]
    read: "dict[int, Composite]"


def harmonize_pending(
    config: DictConfig, folder: Path, work: Pending, record: Mapping[str, Any], loggers: "Sequence[Logger]", first: bool
) -> bool:
    """Harmonize and write what is not done; returns whether progress was shown as a bar.

    Raises:
        Interrupted: A signal requested a stop.
    """
    from diffharmon import results
    from diffharmon.config import build
    from diffharmon.metrics import MetricSet
    from diffharmon.results.names import folder_names
    from diffharmon.run.module import HarmonizeModule, PendingDataset, load_share
    from diffharmon.run.progress import RunProgress
    from diffharmon.run.result_writer import ResultWriter

    metrics = MetricSet({name: build(node) for name, node in config.metrics.items()})
    whole_record = {**record, "columns": [group.to_json() for group in metrics.groups]}
    if first:
        results.write_json(folder / "run.json", whole_record)
    stop_request, weights = StopRequest(), dict[str, str]()
    batch = size_of_batch(config)
    images = PendingDataset(work.dataset, work.indices, work.words, work.read, batch)
    work.read.clear()
    lines = partial(describe_row, groups=metrics.groups), partial(gain_of, groups=metrics.groups)
    progress = RunProgress(len(images), *lines, None if first else False)
    writer = ResultWriter(
        folder,
        record,
        metrics,
        loggers,
        folders=folder_names(work.names),
        digests=images.digests,
        shared_digests=weights,
        progress=progress,
        stop=stop_request,
        shard=Shard.parse(config.shard).name,
        side_pictures=config.side_pictures,
    )
    trainer, stopped = build_trainer(config, writer), partial(bool, stop_request)
    progress.total = len(range(trainer.global_rank, len(images), trainer.world_size))
    module = HarmonizeModule(build_method(config, record["config"], weights), progress.begin, stopped, batch > 1)
    with progress.drawn():
        trainer.predict(module, load_share(images, stopped, batch), return_predictions=False)
    trainer.strategy.barrier()
    if first and not (folder / "run.json").is_file():  # removed while the run was under way
        results.write_json(folder / "run.json", whole_record)
    if stop_request.signal is not None and first:
        raise interrupted(stop_request.signal, folder, work.names)
    return progress.shown


def size_of_batch(config: DictConfig) -> int:
    """Return how many images are harmonized side by side; log where that is one and the configuration asks for more."""
    from diffharmon.config.batch import batch_of

    batch = batch_of(config)
    if config.trainer.get("batch", 1) > batch:
        name = str(config.method._target_).rpartition(".")[2]
        log.warning("trainer.batch=%s changes nothing: %s takes one image at a time", config.trainer.batch, name)
    return batch


def build_method(config: DictConfig, resolved: Mapping[str, Any], digests: dict[str, str]) -> Any:
    """Build the method, and add the digest of its weights, which are downloaded by then, to the rows' digests."""
    from diffharmon.config import build
    from diffharmon.results.provenance.weights import weights_digest

    method = build(config.method)
    digests["weights"] = weights_digest(resolved)
    remark_on_seed(config.seed, method)
    return method


def interrupted(number: int, folder: Path, names: Sequence[str]) -> Interrupted:
    """Return what ends a run that a signal stopped: how many images are done and how to go on."""
    from diffharmon import results

    done = f"{len(results.newest_rows(folder, names))} of {len(names)} images are done"
    return Interrupted(number, resume_line(number, done, folder))


def resume_line(number: int, done: str, folder: Path) -> str:
    """Return one line: which signal stopped the run, what is done, and how to go on."""
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    place = f"hydra.sweep.dir={folder.parent}" if sweeping else f"hydra.run.dir={folder}"
    return f"stopped by {Signals(number).name}: {done}; the same command with {place} goes on"


def remark_on_seed(seed: int, method: Any) -> None:
    """Log that the seed changes nothing, where it was set and nothing draws random numbers."""
    if seed and not getattr(method, "draws_random", False):
        log.warning("seed=%d changes nothing: no part of this configuration draws random numbers", seed)


def build_trainer(config: DictConfig, writer: Any) -> Any:
    """Build Lightning's trainer around the writer.

    Raises:
        ConfigError: The machine has no such accelerator, device or strategy.
    """
    from diffharmon.config import build

    return build(config.trainer, callbacks=[writer], use_distributed_sampler=False)
