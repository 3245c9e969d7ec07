"""The ``diffharmon`` command: compose, validate, build, harmonize, say what came out."""

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from diffharmon.columns import ColumnGroup, main_column
from diffharmon.command import run_hydra_job, stop, wants_full_errors
from diffharmon.errors import ConfigError, DiffharmonError, InputError
from diffharmon.results import read_columns
from diffharmon.results.summary import mean_table
from diffharmon.results.versions import version_line, versions

log = logging.getLogger(__name__)


def quiet_libraries() -> None:
    """Silence the logging, progress bars and warnings of libraries."""
    import diffusers
    import transformers

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")


def execute(config: DictConfig, folder: Path) -> dict[str, float]:
    """Run one job into ``folder`` and return the means over its images.

    A folder that holds rows of the same configuration is continued: only what is missing is done.

    Args:
        config: As ``diffharmon.config.composed`` or ``prepare`` return it.
        folder: The run's folder.

    Raises:
        DiffharmonError: The configuration or the models cannot be used, or some images failed; the others are finished.
    """
    from lightning.pytorch.utilities.rank_zero import rank_zero_only
    from torch.utils.data import DataLoader

    from diffharmon import results
    from diffharmon.config import build
    from diffharmon.metrics import MetricSet
    from diffharmon.module import HarmonizeModule, PendingDataset, ResultWriter, unbatch

    resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    digest = results.config_hash(resolved)
    dataset = build(config.dataset)
    done = results.finished_names(folder, digest)
    pending = [index for index in range(len(dataset)) if dataset.name(index) not in done]
    if len(dataset) == 1 and pending:
        dataset[0]  # One image: what is wrong with it is said before a model loads.
    record = {
        "config": resolved,
        "config_hash": digest,
        "versions": versions(),
        "seed": config.seed,
        "choices": choices(),
    }
    logged = {**resolved, "choices": record["choices"], "commit": record["versions"].get("commit", "")}
    first = getattr(rank_zero_only, "rank", 0) in (0, None)
    with open_loggers(config.logger if first else {}, folder, logged) as loggers:
        if pending:
            metrics = MetricSet({name: build(node) for name, node in config.metrics.items()})
            columns = [group.to_json() for group in metrics.groups]
            results.write_json(folder / "run.json", {**record, "columns": columns})
            writer = ResultWriter(folder, record, digest, metrics, loggers)
            trainer = build_trainer(config, writer)
            loader = DataLoader(PendingDataset(dataset, pending), batch_size=1, collate_fn=unbatch)
            trainer.predict(HarmonizeModule(build(config.method)), loader, return_predictions=False)
            trainer.strategy.barrier()
            if not trainer.is_global_zero:
                return {}
        rows = results.newest_rows(folder, [dataset.name(index) for index in range(len(dataset))])
        means = results.means(rows)
        for logger in loggers:
            logger.summary(rows, means)
        log_summary(rows, results.read_columns(folder), folder)
        return means


def choices() -> dict[str, Any]:
    """Return what Hydra chose in each configuration group; empty where the run was not started by Hydra."""
    found = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {name: choice for name, choice in found.items() if not name.startswith("hydra/")}


@contextmanager
def open_loggers(nodes: Mapping[str, Any], folder: Path, config: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Build every chosen logger and close all of them at the end, also when one of them fails.

    Args:
        nodes: The loggers' settings by name.
        folder: The run's folder.
        config: The run's resolved configuration, with its group choices and commit.
    """
    from diffharmon.config import build
    from diffharmon.sweep import one_line

    with ExitStack() as stack:
        loggers = []
        for node in nodes.values():
            logger = build(node, folder=folder, config=config)
            stack.push(lambda _, error, __, logger=logger: logger.close(one_line(error) if error else ""))
            loggers.append(logger)
        yield loggers


def build_trainer(config: DictConfig, writer: Any) -> Any:
    """Build Lightning's trainer around the writer.

    Raises:
        ConfigError: The machine has no such accelerator, device or strategy.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from diffharmon.config import build

    try:
        return build(config.trainer, callbacks=[writer])
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(f"trainer: {error}") from error


def log_summary(rows: Sequence[Mapping[str, Any]], groups: Sequence[ColumnGroup], folder: Path) -> None:
    """Log the first images, the means with the gain over the composites, and where everything lies.

    Raises:
        InputError: Some images failed, with the first reason.
    """
    good, bad = ([row for row in rows if (row["status"] == "ok") == wanted] for wanted in (True, False))
    for row in good[:20]:
        log.info(describe_row(row, groups))
    if good:
        log.info("%s", mean_table(good, groups))
    log.info("results: %s", folder)
    if bad:
        first = f"the first, {bad[0]['name']}: {bad[0]['error']}" if len(rows) > 1 else bad[0]["error"]
        raise InputError(f"{len(bad)} of {len(rows)} images failed; {first}" if len(rows) > 1 else first)


def describe_row(row: Mapping[str, Any], groups: Sequence[ColumnGroup]) -> str:
    """Return one line about one image: its main number before and after, its score and its cost."""
    from diffharmon.method.policy import LEFT_ALONE

    parts = [str(row["name"])]
    main = main_column(groups)
    if main is not None and main[0].key(main[1]) in row:
        group, column = main
        before, after = (row[key] for key in (group.baseline_key(column), group.key(column)))
        parts.append(f"{column.title} {before:.{column.decimals}f} -> {after:.{column.decimals}f} {column.unit}")
    parts.append(f"score {row['score']:.3f}")
    if str(row.get("reason", "")).startswith(LEFT_ALONE):
        parts.append("left alone as harmonious (evaluator=none always changes)")
    parts.append(f"{row['seconds']:.1f} s, {row['unet_calls']:.0f} UNet calls")
    return ", ".join(parts)


def objective(means: Mapping[str, float], groups: Sequence[ColumnGroup]) -> float | None:
    """Return what a sweeper maximizes: the first metric's main number, else the evaluator's score."""
    main = main_column(groups)
    fallback = means.get("score")
    return fallback if main is None else means.get(main[0].key(main[1]), fallback)


@hydra.main(version_base="1.3", config_path="pkg://diffharmon.conf", config_name="config")
def job(config: DictConfig) -> float | None:
    """Run one Hydra job; returns the number that a sweeper maximizes."""
    from diffharmon.config import prepare

    if wants_full_errors():
        logging.getLogger("diffharmon").setLevel(logging.DEBUG)
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        config = prepare(config, HydraConfig.get().runtime.choices)
        quiet_libraries()
        means = execute(config, folder)
    except DiffharmonError as error:
        # Hydra would put a line of its own before ours. In a sweep it has to see the error, to count the job as failed.
        if HydraConfig.get().mode == RunMode.MULTIRUN or wants_full_errors():
            raise
        stop(error)
    return objective(means, read_columns(folder))


def main() -> None:
    """Run the command; see `diffharmon.command.run_hydra_job` for how it ends."""
    if "--version" in sys.argv[1:]:
        print(version_line())
        return
    run_hydra_job(job, "interrupted; finished images are kept, run the same hydra.run.dir again to go on")


if __name__ == "__main__":
    main()
