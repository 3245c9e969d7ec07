"""What a run leaves on disk: one folder an image, one row an image, one record a run."""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from diffharmon import images, panels
from diffharmon.errors import InputError
from diffharmon.types import Composite, Cost, Outcome

PACKAGES = (
    "diffharmon",
    "torch",
    "diffusers",
    "transformers",
    "hydra-core",
    "omegaconf",
    "lightning",
    "numpy",
    "pillow",
)
# What decides neither an image nor a number: a change here keeps earlier rows valid.
NOT_HASHED = ("name", "trainer", "logger", "hydra", "experiment")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def config_hash(config: Mapping[str, Any]) -> str:
    """A short digest of everything in the resolved config that can change a result."""
    kept = {key: value for key, value in config.items() if key not in NOT_HASHED}
    dataset = kept.get("dataset")
    if isinstance(dataset, Mapping):
        # Which images are taken does not change what becomes of each.
        kept["dataset"] = {key: value for key, value in dataset.items() if key != "limit"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def safe_name(name: str) -> str:
    """A file name for an image's name: path separators become ``__``."""
    return name.replace("/", "__").replace("\\", "__").strip() or "image"


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")
    os.replace(partial, path)


def copy_file(source: Path, path: Path) -> None:
    """Copy a file so that the copy appears complete or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.copyfile(source, partial)
    os.replace(partial, path)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line of JSON and have it on disk before returning; a line that a crash cut short is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(row, default=str).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of all processes; a line that a crash cut short is passed over."""
    rows = []
    for path in sorted(folder.glob("rows*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return rows


def finished_names(folder: Path, digest: str) -> set[str]:
    """Names of the images that a former run with the same config finished.

    Raises:
        InputError: The folder holds rows of another config, which must not be mixed.
    """
    rows = read_rows(folder)
    others = {row["config"] for row in rows} - {digest}
    if others:
        raise InputError(
            f"{folder} holds results of another configuration ({', '.join(sorted(others))}), this one is {digest}; "
            "expected a new hydra.run.dir, or the former configuration"
        )
    return {row["name"] for row in rows if row["status"] == "ok"}


def newest_rows(folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Read one row for each named image, in the order of the names; a finished row counts more than a failed one."""
    chosen: dict[str, dict[str, Any]] = {}
    for row in read_rows(folder):
        if row["name"] not in chosen or chosen[row["name"]]["status"] != "ok":
            chosen[row["name"]] = row
    return [chosen[name] for name in names if name in chosen]


def means(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Average every number that all finished rows have; per image first, means after."""
    good = [row for row in rows if row["status"] == "ok"]
    shared = set.intersection(*(set(row) for row in good)) if good else set()
    numbers = {key for key in shared if all(isinstance(row[key], (int, float)) for row in good)}
    return {key: sum(row[key] for row in good) / len(good) for key in sorted(numbers)}


def write_outcome(folder: Path, composite: Composite, outcome: Outcome, record: Mapping[str, Any]) -> None:
    """Write everything about one image into ``folder``: result, iterations, comparison, attention maps, record."""
    best = outcome.best
    same_size = best.image.shape == composite.image.shape
    alpha = composite.alpha if same_size else None
    images.write_image(folder / "harmonized.png", best.image, alpha, composite.profile)
    for attempt in outcome.attempts:
        if attempt.iteration >= 0:
            path = folder / f"iteration_{attempt.iteration:02d}.png"
            if attempt.image is best.image:  # Compressing it a second time would give the same bytes.
                copy_file(folder / "harmonized.png", path)
            else:
                images.write_image(path, attempt.image, alpha, composite.profile)
    strip = panels.comparison(composite.image, best.image, composite.mask, composite.real)
    panels.write(folder / "comparison.png", strip)
    if best.words:
        panels.write(folder / "attention.png", panels.attention_strip(composite.image, best.words))
    write_json(folder / "record.json", {**record, **outcome_record(outcome)})


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """The part of an image's record that comes from what the method did."""
    return {
        "reason": outcome.reason,
        "best_iteration": outcome.best.iteration,
        "attempts": [
            {
                "iteration": attempt.iteration,
                "score": attempt.score.value,
                "terms": dict(attempt.score.terms),
                "object": attempt.description.object,
                "foreground": attempt.description.foreground,
                "background": attempt.description.background,
                "describer": attempt.description.describer,
            }
            for attempt in outcome.attempts
        ],
        "costs": {stage: asdict(cost) for stage, cost in outcome.costs.items()},
        "total": asdict(total_cost(outcome.costs.values())),
    }


def total_cost(costs: Iterable[Cost]) -> Cost:
    """Add costs up."""
    return sum(costs, Cost())
