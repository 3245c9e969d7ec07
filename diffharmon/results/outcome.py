"""The folder of one image: result, attempts, pictures for people, record."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import ResultError
from diffharmon.files import copy_file
from diffharmon.results import panels, write_json
from diffharmon.types import Attempt, Composite, Cost, Outcome

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


def write_outcome(
    folder: Path,
    composite: Composite,
    outcome: Outcome,
    record: Mapping[str, Any],
    parts: Mapping[str, Float[Tensor, "3 y x"]] = NOTHING,
) -> Path:
    """Write everything about one image into ``folder``: result, attempts, pictures, attention maps, record.

    Results have the depth and the greyness of the photo's file. What a former result left in the folder is removed.

    Args:
        folder: The image's folder.
        composite: What was harmonized.
        outcome: What the method did.
        record: What the record begins with.
        parts: The pictures of ``panels.comparison_parts``; without any, no side pictures are written.

    Returns:
        The file of the result.

    Raises:
        ResultError: The background of the written file is not the composite's, bit for bit; the file is removed.
    """
    remove_former(folder)
    best, suffix = outcome.best, images.suffix_of(composite)
    result = folder / f"harmonized{suffix}"
    images.write_result(result, composite, best.image)
    try:
        images.check_background(result, composite)
    except ResultError:
        result.unlink()
        raise
    for number, attempt in enumerate(harmonized_attempts(outcome)):
        path = folder / picture_name(number, suffix)
        if attempt.image is best.image:  # Compressing it a second time would give the same bytes.
            copy_file(result, path)
        else:
            images.write_result(path, composite, attempt.image)
    for number, variant in enumerate(outcome.variants):
        images.write_result(folder / variant_name(number, suffix), composite, variant.image)
    if parts:
        write_side_pictures(folder, parts, best)
    write_json(folder / "record.json", {**record, **outcome_record(outcome, suffix)})
    return result


def write_side_pictures(folder: Path, parts: Mapping[str, Float[Tensor, "3 y x"]], best: Attempt) -> None:
    """Write what people look at: the comparison, its pictures for pages, and where each word attends."""
    panels.write(folder / "comparison.png", panels.strip(parts))
    for name in ("composite", "result", "real", "mask"):
        if name in parts:
            panels.write_small(folder / f"{name}.jpg", parts[name])
    if best.words:
        panels.write(folder / "attention.png", panels.attention_strip(parts["composite"], best.words))


def remove_former(folder: Path) -> None:
    """Remove the files of a former result: what is written now may have other names or be fewer."""
    pictures = ("comparison.png", "attention.png", "composite.jpg", "result.jpg", "real.jpg", "mask.jpg")
    for pattern in ("harmonized.*", "attempt_*", "variant_*", "record.json", *pictures):
        for path in folder.glob(pattern):
            path.unlink()


def harmonized_attempts(outcome: Outcome) -> list[Attempt]:
    """Return all attempts but the untouched composite, in the order in which they were made."""
    return [attempt for attempt in outcome.attempts if attempt.iteration >= 0]


def picture_name(number: int, suffix: str = ".png") -> str:
    """File name of an attempt's picture, by its place among ``harmonized_attempts``."""
    return f"attempt_{number:02d}{suffix}"


def variant_name(number: int, suffix: str = ".png") -> str:
    """File name of a variant's picture, by its place among the outcome's."""
    return f"variant_{number:02d}{suffix}"


def outcome_record(outcome: Outcome, suffix: str = ".png") -> dict[str, Any]:
    """The part of an image's record that comes from what the method did."""
    numbers = {id(attempt): number for number, attempt in enumerate(harmonized_attempts(outcome))}
    return {
        "reason": outcome.reason,
        "best_iteration": outcome.best.iteration,
        "attempts": [
            {
                "iteration": attempt.iteration,
                "picture": picture_name(numbers[id(attempt)], suffix) if id(attempt) in numbers else None,
                "score": attempt.score.value,
                "terms": dict(attempt.score.terms),
                **attempt.description.row(),
            }
            for attempt in outcome.attempts
        ],
        "variants": [
            {
                "picture": variant_name(number, suffix),
                "strength": variant.strength,
                "score": variant.score.value,
                **variant.description.row(),
            }
            for number, variant in enumerate(outcome.variants)
        ],
        "costs": {stage: asdict(cost) for stage, cost in outcome.costs.items()},
        "total": asdict(total_cost(outcome.costs.values())),
    }


def total_cost(costs: Iterable[Cost]) -> Cost:
    """Add costs up."""
    return sum(costs, Cost())
