"""The ``diffharmon-describe`` command: describe all images of a dataset before a sweep.

What a service or a local model answers is stored in ``describer.cache``, where a later run finds it without network; a
second call asks only for what is missing. All descriptions are also written as JSON lines for ``describer=file``.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from tqdm import tqdm

from diffharmon.command import run_hydra_job
from diffharmon.errors import DescriberError
from diffharmon.files import write_text
from diffharmon.protocols import Dataset, Describer
from diffharmon.report.sweep import one_line
from diffharmon.types import Attempt, Composite, Description, Score

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Described:
    """The descriptions of one image.

    Attributes:
        name: The image.
        descriptions: The different descriptions, best first.
        error: Why there are none, or fewer than asked for; empty when all is well.
    """

    name: str
    descriptions: tuple[Description, ...]
    error: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each description, as ``describer=file`` reads them."""
        return [{"name": self.name, **description.row()} for description in self.descriptions]


def describe_image(dataset: Dataset, describer: Describer, index: int, count: int) -> Described:
    """Describe one image up to ``count`` times, each time differently; returns its errors."""
    descriptions: list[Description] = []
    try:
        composite = dataset[index].blind()
        while len(descriptions) < count:
            description = describer.describe(composite, _unscored(composite, descriptions))
            if description in descriptions:
                break
            descriptions.append(description)
    except Exception as error:  # whatever one image raises is its own
        return Described(dataset.name(index), tuple(descriptions), one_line(error))
    return Described(dataset.name(index), tuple(descriptions))


def _unscored(composite: Composite, descriptions: Sequence[Description]) -> list[Attempt]:
    unknown = Score(float("nan"))
    return [Attempt(n, composite.image, unknown, words, number=n) for n, words in enumerate(descriptions)]


def describe_all(dataset: Dataset, describer: Describer, count: int, workers: int) -> Iterator[Described]:
    """Describe all images of a dataset with ``workers`` threads; yields them in the order in which they finish."""
    with ThreadPoolExecutor(workers, thread_name_prefix="describe") as pool:
        futures = [pool.submit(describe_image, dataset, describer, index, count) for index in range(len(dataset))]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def execute(config: DictConfig, folder: Path) -> dict[str, int]:
    """Describe the dataset of a configuration, write the descriptions, and count images by describer.

    Raises:
        ConfigError: a key or value does not fit.
        DescriberError: some images have no description; the others are written and stored.
    """
    from diffharmon.config import DESCRIBE, build, validate

    validate(config, DESCRIBE)
    dataset, describer = build(config.dataset), build(config.describer)
    finished: dict[str, Described] = {}
    stream = describe_all(dataset, describer, config.descriptions, config.workers)
    output = Path(config.output).expanduser() if config.output else folder / "descriptions.jsonl"
    try:
        for described in tqdm(stream, total=len(dataset), desc="describe", unit="image"):
            finished[described.name] = described
    finally:
        ordered = [finished[name] for name in map(dataset.name, range(len(dataset))) if name in finished]
        _write(output, [row for described in ordered for row in described.rows()])
        _write(folder / "errors.jsonl", [{"name": d.name, "error": d.error} for d in ordered if d.error])
    return conclude(ordered, output)


def conclude(ordered: Sequence[Described], output: Path) -> dict[str, int]:
    """Log what came out and count images by the describer of their first description.

    Raises:
        DescriberError: some images have no description.
    """
    describers = Counter(described.descriptions[0].describer for described in ordered if described.descriptions)
    for describer, number in describers.most_common():
        _log.info("%d images described by %s", number, describer)
    _log.info("descriptions: %s", output)
    missing = [described for described in ordered if not described.descriptions]
    for described in ordered:
        if described.error:
            _log.warning("%s: %s", described.name, described.error)
    if missing:
        raise DescriberError(
            f"{len(missing)} of {len(ordered)} images have no description; the first, {missing[0].name}: "
            f"{missing[0].error}"
        )
    return dict(describers)


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@hydra.main(version_base="1.3", config_path="pkg://diffharmon.conf", config_name="describe")
def job(config: DictConfig) -> None:
    """Run one Hydra job."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    execute(config, Path(HydraConfig.get().runtime.output_dir))


def main() -> None:
    """Run the command; see `diffharmon.command.run_hydra_job` for how it ends."""
    run_hydra_job(job, "finished descriptions are stored, the same command goes on")


if __name__ == "__main__":
    main()
