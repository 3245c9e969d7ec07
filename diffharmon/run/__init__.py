"""The ``diffharmon`` command: compose, validate, run; ``execution`` is a run."""

import logging
import os
import sys
import warnings
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from diffharmon.command import raise_interruption, run_hydra_job, stop, wants_full_errors
from diffharmon.command.interrupts import Interrupted
from diffharmon.report.sweep import record_status, reported, started
from diffharmon.results import read_columns
from diffharmon.results.summary import objective
from diffharmon.results.versions import version_line
from diffharmon.run.dry_run import dry_run, print_total
from diffharmon.run.execution import execute as execute

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
    warnings.filterwarnings("ignore", message="predict returned None.*")  # an image that a signal left undone


@hydra.main(version_base="1.3", config_path="pkg://diffharmon.conf", config_name="config")
def job(config: DictConfig) -> float | None:
    """Run one Hydra job; returns the number that a sweeper maximizes."""
    from diffharmon.config import prepare

    if wants_full_errors():
        logging.getLogger("diffharmon").setLevel(logging.DEBUG)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it logs while it is imported
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not config.get("dry_run"):
        log.info("loading libraries and models; results go to %s", folder)
    try:
        config = prepare(config, HydraConfig.get().runtime.choices)
        if config.dry_run:
            quiet_libraries()
            dry_run(config, folder)
            return None
        quiet_libraries()
        means = execute(config, folder)
    except Exception as error:
        raise_interruption(error)
        # Hydra would put a line of its own before ours. In a sweep it has to see the error, to count the job as failed.
        if HydraConfig.get().mode == RunMode.MULTIRUN or wants_full_errors():
            raise
        stop(error)
    except Interrupted as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            record_status(folder, "interrupted", str(error), shard=config.shard)
        raise
    return objective(means, read_columns(folder))


def run_or_sweep() -> None:
    """Run the job, or all jobs of a sweep and then their table."""
    with reported():
        job()
    if started:
        print_total(started[0])


def main() -> None:
    """Run the command; see `diffharmon.command.run_hydra_job` for how it ends."""
    if "--version" in sys.argv[1:]:
        print(version_line())
        return
    run_hydra_job(run_or_sweep, "finished images are kept, the same command with the same hydra.run.dir goes on")


if __name__ == "__main__":
    main()
