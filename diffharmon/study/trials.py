"""What a study shows: pictures of the runs' results, the composite with its object outlined, and spoiled results."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from PIL import Image

from diffharmon.errors import InputError
from diffharmon.preference.judging import outlined
from diffharmon.report.gallery import pictures_of
from diffharmon.report.runs import Run

QUALITY = 88
_PARTS = {"composite", "result", "mask"}
_SPOILED = (0.25, 1.1, 0.35)  # gains of RGB: a green that no light in these photos gives


@dataclass(frozen=True)
class Study:
    """The material of a page.

    Attributes:
        runs: Labels of the runs.
        images: Names of the images that all of them finished.
        pictures: JPEG data URIs by numbers, ``image/run``, and ``image/composite`` and ``image/spoiled``.
    """

    runs: tuple[str, ...]
    images: tuple[str, ...]
    pictures: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        pairs = list(combinations(range(len(self.runs)), 2))
        return {"runs": self.runs, "images": self.images, "pictures": self.pictures, "pairs": pairs}


def make_study(runs: Sequence[Run], count: int, side: int) -> Study:
    """Collect the pictures of images that all runs finished, evenly over their names.

    Args:
        runs: Runs with pictures for pages (``output=full``).
        count: Largest number of images.
        side: Longest side of a picture in pixels.

    Raises:
        InputError: Fewer than two runs, or no image that all of them finished with pictures.
    """
    chosen = comparable(runs, count)
    pictures: dict[str, str] = {}
    for number, name in enumerate(chosen):
        parts = [pictures_of(run, name) or {} for run in runs]
        for place, own in enumerate(parts):
            pictures[f"{number}/{place}"] = encode(own["result"], side)
        mask = parts[0]["mask"].convert("L")
        pictures[f"{number}/composite"] = encode(outlined(parts[0]["composite"], mask), side)
        pictures[f"{number}/spoiled"] = encode(spoiled(parts[0]["result"], mask), side)
    return Study(tuple(run.label for run in runs), tuple(chosen), pictures)


def comparable(runs: Sequence[Run], count: int) -> list[str]:
    """Return names of images that all runs finished with pictures, at most so many, evenly over their order.

    Raises:
        InputError: Fewer than two runs, or no such image.
    """
    if len(runs) < 2:
        raise InputError(f"a study compares runs: expected at least two, got {len(runs)}")
    common = sorted(set.intersection(*(set(run.rows) for run in runs)))
    found = [name for name in common if all(set(pictures_of(run, name) or ()) >= _PARTS for run in runs)]
    if not found:
        raise InputError(
            f"none of the {len(common)} images that all {len(runs)} runs finished has pictures; expected runs of the "
            "same dataset with output=full"
        )
    return [found[place] for place in np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]


def spoiled(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Turn the object green: whoever prefers that did not look."""
    green = Image.fromarray((np.asarray(picture) * np.array(_SPOILED)).clip(0, 255).astype(np.uint8))
    return Image.composite(green, picture, mask)


def encode(picture: Image.Image, side: int) -> str:
    """Encode a picture as a JPEG data URI."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
