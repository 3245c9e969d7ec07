"""A sweep reports itself: each failed job at once, all that failed at the end.

Hydra raises the first failure after the last job and calls ``on_multirun_end`` only when none failed, and some
launchers run jobs in other processes. So each job leaves its outcome in its own ``run.json``, which the end of a sweep
reads.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from diffharmon.errors import DiffharmonError

log = logging.getLogger(__name__)

# The sweep that this process started; Hydra's configuration is gone by the time its failure is reported.
started: list[Path] = []


class SweepError(DiffharmonError):
    """Some jobs of a sweep did not complete."""


@dataclass(frozen=True)
class Job:
    """One job's outcome.

    Attributes:
        number: The job's number, its folder's name.
        overrides: What distinguishes it.
        status: ``completed``, ``failed`` or ``running`` (killed).
        error: Why it failed, in one line.
        means: Means over its images.
    """

    number: str
    overrides: str
    status: str
    error: str
    means: Mapping[str, float]


class SweepReport(Callback):
    """Hydra's callback: logs a failing job at once and records the outcome in the job's ``run.json``."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Give all jobs one folder, also where their experiments name the study differently, and remember it."""
        folder = str(config.hydra.sweep.dir)
        quoted = folder.replace("\\", "\\\\").replace("'", "\\'")
        with read_write(config):
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{quoted}'")
        Path(folder).mkdir(parents=True, exist_ok=True)  # where Optuna's study lies
        started.append(Path(folder))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Record one job's outcome; in whichever process it ran."""
        if str(config.hydra.mode).rpartition(".")[2] != "MULTIRUN":
            return
        overrides = " ".join(OmegaConf.to_container(config.hydra.overrides.task) or [])  # type: ignore[arg-type]
        error = ""
        if job_return.status != JobStatus.COMPLETED:
            error = one_line(job_return._return_value)  # the property raises the error instead of returning it
            log.error("job %s (%s) failed: %s", config.hydra.job.num, overrides, error)
        folder = Path(str(config.hydra.runtime.output_dir))
        record_status(folder, "failed" if error else "completed", error, config.get("shard"))


def print_table(folder: Path) -> None:
    """Print a sweep's table; what it needs takes seconds to import, which a single run does not wait for."""
    from diffharmon.report.terminal import print_sweep

    print_sweep(folder)


class WithoutHydrasLine:
    """Standard error without the line in which Hydra repeats the overrides of the first failed job of a sweep."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        """Return what the stream has."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write all but that line."""
        return len(text) if text.startswith("Error executing job with overrides: ") else int(self.stream.write(text))


@contextmanager
def reported() -> Iterator[None]:
    """Report the sweep that runs inside the ``with``, if one does: print its table, name the jobs that failed.

    Raises:
        SweepError: Some jobs failed, whatever the launcher or the sweeper made of it.
    """
    started.clear()
    try:
        with redirect_stderr(WithoutHydrasLine(sys.stderr)):
            yield
    except Exception as error:
        if not started:
            raise
        print_table(started[0])
        found = jobs(started[0])
        failed = summarize(found)
        if not failed:
            raise
        raise SweepError(failure_message(failed, len(found))) from error
    except BaseException:
        if started:
            print_table(started[0])
        raise
    if started:
        print_table(started[0])
        found = jobs(started[0])
        failed = summarize(found)
        if failed:
            raise SweepError(failure_message(failed, len(found)))


def one_line(error: BaseException | Any) -> str:
    """Return an error's message in one line; the type's name too where it is not one of ours."""
    text = " ".join(str(error).split())
    return text if isinstance(error, DiffharmonError) and text else f"{type(error).__name__}: {text}"


def record_status(folder: Path, status: str, error: str = "", shard: str | None = None, **values: Any) -> None:
    """Add a job's status to its ``run.json``, which may not exist yet when it failed early.

    Shards of a run share that file, so each has one of its own for its status, ``status-3of8.json``.
    """
    if shard is None:
        add_to_record(folder, status=status, error=error, **values)
        return
    from diffharmon.results import write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"status-{shard.strip().replace('/', 'of')}.json", {"status": status, "error": error})


def status_of(folder: Path) -> tuple[str, str]:
    """Return a job's status and its error; of a job in shards that of the first shard that did not complete."""
    record = read_record(folder / "run.json")
    shards = sorted(folder.glob("status-*of*.json"))
    if not shards:
        return record.get("status", "running"), record.get("error", "")
    found = [read_record(path) for path in shards]
    if len(found) < int(shards[0].stem.rpartition("of")[2]):
        found.append({"status": "running"})
    worst = next((one for one in found if one.get("status") != "completed"), found[0])
    return worst.get("status", "running"), worst.get("error", "")


def add_to_record(folder: Path, **values: Any) -> None:
    """Add values to a run's ``run.json``."""
    from diffharmon.results import write_json

    path = folder / "run.json"
    write_json(path, {**read_record(path), **values})


def read_record(path: Path) -> dict[str, Any]:
    """Read a ``run.json``; empty where there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def jobs(folder: Path) -> list[Job]:
    """Read the outcomes of all jobs of a sweep, in the order of their numbers."""
    found = []
    for path in folder.glob("*/run.json"):
        record = read_record(path)
        overrides = path.parent / ".hydra" / "overrides.yaml"
        lines = overrides.read_text(encoding="utf-8").splitlines() if overrides.is_file() else []
        given = [line.removeprefix("- ").strip() for line in lines if line.startswith("- ")]
        means = record.get("means") or {}
        status, error = status_of(path.parent)
        found.append(Job(path.parent.name, " ".join(given), status, error, means))
    return sorted(found, key=lambda job: (not job.number.isdigit(), job.number.zfill(9)))


def same_results(found: Sequence[Job]) -> list[list[str]]:
    """Group the jobs whose means are exactly equal: what they vary changes nothing."""
    groups: dict[str, list[str]] = {}
    for job in found:
        values = {name: value for name, value in job.means.items() if name not in ("seconds", "seed")}
        if values:
            groups.setdefault(json.dumps(values, sort_keys=True), []).append(job.number)
    return [group for group in groups.values() if len(group) > 1]


def summarize(found: Sequence[Job]) -> list[Job]:
    """Log which jobs have equal results; returns the jobs that did not complete."""
    for group in same_results(found):
        log.warning("jobs %s have exactly the same results: what they vary changes nothing", ", ".join(group))
    return [job for job in found if job.status != "completed"]


def failure_message(failed: Sequence[Job], count: int) -> str:
    """Name the jobs of a sweep that did not complete, with each one's reason, in one line."""
    reasons = "; ".join(f"{job.number}: {job.error or job.status}" for job in failed)
    return f"{len(failed)} of {count} jobs did not complete; {reasons}"
