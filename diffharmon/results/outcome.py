"""The folder of one image: result, attempts, pictures for people, record."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffharmon import images, panels
from diffharmon.files import copy_file
from diffharmon.results import write_json
from diffharmon.types import Attempt, Composite, Cost, Outcome


def write_outcome(folder: Path, composite: Composite, outcome: Outcome, record: Mapping[str, Any]) -> None:
    """Write everything about one image into ``folder``: result, attempts, pictures, attention maps, record."""
    best = outcome.best
    same_size = best.image.shape == composite.image.shape
    alpha = composite.alpha if same_size else None
    images.write_image(folder / "harmonized.png", best.image, alpha, composite.profile)
    for number, attempt in enumerate(harmonized_attempts(outcome)):
        path = folder / picture_name(number)
        if attempt.image is best.image:  # Compressing it a second time would give the same bytes.
            copy_file(folder / "harmonized.png", path)
        else:
            images.write_image(path, attempt.image, alpha, composite.profile)
    parts = panels.comparison_parts(composite.image, best.image, composite.mask, composite.real)
    panels.write(folder / "comparison.png", panels.strip(parts))
    for name in ("composite", "result", "real", "mask"):
        if name in parts:
            panels.write_small(folder / f"{name}.jpg", parts[name])
    if best.words:
        panels.write(folder / "attention.png", panels.attention_strip(composite.image, best.words))
    write_json(folder / "record.json", {**record, **outcome_record(outcome)})


def harmonized_attempts(outcome: Outcome) -> list[Attempt]:
    """Return all attempts but the untouched composite, in the order in which they were made."""
    return [attempt for attempt in outcome.attempts if attempt.iteration >= 0]


def picture_name(number: int) -> str:
    """File name of an attempt's picture, by its place among ``harmonized_attempts``."""
    return f"attempt_{number:02d}.png"


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """The part of an image's record that comes from what the method did."""
    numbers = {id(attempt): number for number, attempt in enumerate(harmonized_attempts(outcome))}
    return {
        "reason": outcome.reason,
        "best_iteration": outcome.best.iteration,
        "attempts": [
            {
                "iteration": attempt.iteration,
                "picture": picture_name(numbers[id(attempt)]) if id(attempt) in numbers else None,
                "score": attempt.score.value,
                "terms": dict(attempt.score.terms),
                **attempt.description.row(),
            }
            for attempt in outcome.attempts
        ],
        "costs": {stage: asdict(cost) for stage, cost in outcome.costs.items()},
        "total": asdict(total_cost(outcome.costs.values())),
    }


def total_cost(costs: Iterable[Cost]) -> Cost:
    """Add costs up."""
    return sum(costs, Cost())
