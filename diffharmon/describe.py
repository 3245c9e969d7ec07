"""The ``diffharmon-describe`` command: describe all images of a dataset before a sweep.

What a service or a local model says is stored in ``describer.cache``, where a later run finds it without network; a
second call asks only for what is missing. All descriptions are also written as JSON lines for ``describer=file``.
"""

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from diffharmon.errors import ConfigError, DescriberError, DiffharmonError
from diffharmon.protocols import Dataset, Describer
from diffharmon.types import Attempt, Composite, Description, Score

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Described:
    """What was said about one image.

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
        return [
            {
                "name": self.name,
                "object": description.object,
                "foreground": list(description.foreground),
                "background": list(description.background),
                "describer": description.describer,
            }
            for description in self.descriptions
        ]


def describe_image(dataset: Dataset, describer: Describer, index: int, count: int) -> Described:
    """Describe one image up to ``count`` times, each time differently; errors of this image are kept, not raised."""
    descriptions: list[Description] = []
    try:
        composite = dataset[index].blind()
        while len(descriptions) < count:
            description = describer.describe(composite, _unscored(composite, descriptions))
            if description in descriptions:
                break
            descriptions.append(description)
    except DiffharmonError as error:
        return Described(dataset.name(index), tuple(descriptions), " ".join(str(error).split()))
    return Described(dataset.name(index), tuple(descriptions))


def _unscored(composite: Composite, descriptions: Sequence[Description]) -> list[Attempt]:
    return [Attempt(n, composite.image, Score(float("nan")), said, number=n) for n, said in enumerate(descriptions)]


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
    """Describe the dataset of a configuration, write what was said, and count images by who spoke last.

    Raises:
        ConfigError: a key or value does not fit.
        DescriberError: some images have no description; the others are written and stored.
    """
    from diffharmon.config import build, validate

    validate(config)
    for name in ("workers", "descriptions"):
        if not isinstance(config[name], int) or config[name] < 1:
            raise ConfigError(f"{name}: expected a whole number of at least 1, got {config[name]!r}")
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
    """Say what came out and count images by who described them first.

    Raises:
        DescriberError: some images have no description.
    """
    speakers = Counter(described.descriptions[0].describer for described in ordered if described.descriptions)
    for speaker, number in speakers.most_common():
        _log.info("%d images described by %s", number, speaker)
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
    return dict(speakers)


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    os.replace(partial, path)


@hydra.main(version_base="1.3", config_path="pkg://diffharmon.conf", config_name="describe")
def job(config: DictConfig) -> None:
    """Run one Hydra job."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    execute(config, Path(HydraConfig.get().runtime.output_dir))


def main() -> None:
    """Run the command; an error that a user can mend is one clear line and exit code 2.

    ``HYDRA_FULL_ERROR=1`` shows the whole traceback instead.
    """
    from diffharmon.config import explain, prepare_overrides

    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        sys.argv[1:] = prepare_overrides(sys.argv[1:])
        job()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and the line below is ours.
    try:
        sys.argv[1:] = prepare_overrides(sys.argv[1:])
        job()
    except (DiffharmonError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {str(explain(error)) or error.__cause__}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; what was described is stored, the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
