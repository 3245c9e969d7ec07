"""The ``diffharmon`` command: compose, validate, build, harmonize, say what came out."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diffharmon.errors import ConfigError, DiffharmonError, InputError
from diffharmon.method.policy import LEFT_ALONE

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
    import torch
    from lightning.pytorch.utilities.rank_zero import rank_zero_only
    from torch.utils.data import DataLoader

    from diffharmon import results
    from diffharmon.config import build
    from diffharmon.module import HarmonizeModule, Pending, ResultWriter, only

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    resolved: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    digest = results.config_hash(resolved)
    dataset = build(config.dataset)
    done = results.finished_names(folder, digest)
    pending = [index for index in range(len(dataset)) if dataset.name(index) not in done]
    if len(dataset) == 1 and pending:
        dataset[0]  # One image: what is wrong with it is said before a model loads.
    record = {"config": resolved, "config_hash": digest, "versions": results.versions(), "seed": config.seed}
    results.write_json(folder / "run.json", record)
    first = getattr(rank_zero_only, "rank", 0) in (0, None)
    with open_loggers(config.logger if first else {}, folder, resolved) as loggers:
        if pending:
            clip = build(config.clip_score) if config.clip_score else None
            writer = ResultWriter(folder, record, digest, build(config.metrics), clip, loggers)
            trainer = build_trainer(config, writer)
            loader = DataLoader(Pending(dataset, pending), batch_size=1, collate_fn=only)
            trainer.predict(HarmonizeModule(build(config.method)), loader, return_predictions=False)
            trainer.strategy.barrier()
            if not trainer.is_global_zero:
                return {}
        rows = results.newest_rows(folder, [dataset.name(index) for index in range(len(dataset))])
        means = results.means(rows)
        for logger in loggers:
            logger.summary(rows, means)
        tell(rows, means, folder)
        return means


@contextmanager
def open_loggers(nodes: Mapping[str, Any], folder: Path, config: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Build every chosen logger and close all of them at the end, also when one of them fails.

    Args:
        nodes: The loggers' settings by name.
        folder: The run's folder.
        config: The run's resolved configuration.
    """
    from diffharmon.config import build

    with ExitStack() as stack:
        loggers = []
        for node in nodes.values():
            logger = build(node, folder=folder, config=config)
            stack.push(lambda kind, *_, logger=logger: logger.close(kind is not None))
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


def tell(rows: Sequence[Mapping[str, Any]], means: Mapping[str, float], folder: Path) -> None:
    """Print what came out.

    Raises:
        InputError: Some images failed, with the first reason.
    """
    good, bad = ([row for row in rows if (row["status"] == "ok") == wanted] for wanted in (True, False))
    for row in good[:20]:
        log.info(describe_row(row))
    if len(good) > 1:
        log.info("mean over %d images: %s", len(good), describe_row({"name": "", **means}))
    log.info("results: %s", folder)
    if bad:
        first = f"the first, {bad[0]['name']}: {bad[0]['error']}" if len(rows) > 1 else bad[0]["error"]
        raise InputError(f"{len(bad)} of {len(rows)} images failed; {first}" if len(rows) > 1 else first)


def describe_row(row: Mapping[str, Any]) -> str:
    """One line about one image."""
    parts = [str(row["name"])] if row["name"] else []
    for metric in ("psnr", "fpsnr"):
        if metric in row:
            label = {"psnr": "PSNR", "fpsnr": "fPSNR"}[metric]
            parts.append(f"{label} {row[f'composite_{metric}']:.2f} -> {row[metric]:.2f} dB")
    parts.append(f"score {row['score']:.3f}")
    if str(row.get("reason", "")).startswith(LEFT_ALONE):
        parts.append("left alone as harmonious (evaluator=none always changes)")
    parts.append(f"{row['seconds']:.1f} s, {row['unet_calls']:.0f} UNet calls")
    return ", ".join(parts)


@hydra.main(version_base="1.3", config_path="pkg://diffharmon.conf", config_name="config")
def job(config: DictConfig) -> float | None:
    """Run one Hydra job; returns the number that a sweeper maximizes."""
    from diffharmon.config import prepare

    if wants_full_errors():
        logging.getLogger("diffharmon").setLevel(logging.DEBUG)
    try:
        config = prepare(config, HydraConfig.get().runtime.choices)
        quiet_libraries()
        means = execute(config, Path(HydraConfig.get().runtime.output_dir))
    except DiffharmonError as error:
        # Hydra would put a line of its own before ours. In a sweep it has to see the error, to count the job as failed.
        if HydraConfig.get().mode == RunMode.MULTIRUN or wants_full_errors():
            raise
        stop(error)
    return means.get("fpsnr", means.get("score"))


def wants_full_errors() -> bool:
    """Tell whether the user asked for tracebacks; ``main`` notes it before it takes Hydra's own printing away."""
    return os.environ.get("DIFFHARMON_FULL_ERROR") == "1"


def stop(error: Exception) -> NoReturn:
    """Say an error in one line and end with exit code 2."""
    # Hydra leaves the message of some errors to their cause.
    print(f"error: {str(error) or error.__cause__}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Run the command; an error that a user can mend is one clear line and exit code 2.

    ``HYDRA_FULL_ERROR=1`` shows the whole traceback instead.
    """
    from diffharmon.config import explain, prepare_overrides

    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        os.environ["DIFFHARMON_FULL_ERROR"] = "1"
        sys.argv[1:] = prepare_overrides(sys.argv[1:])
        job()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and the line is ours.
    try:
        sys.argv[1:] = prepare_overrides(sys.argv[1:])
        job()
    except (DiffharmonError, HydraException, OmegaConfBaseException) as error:
        stop(explain(error))
    except KeyboardInterrupt:
        print("interrupted; finished images are kept, run the same hydra.run.dir again to go on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
