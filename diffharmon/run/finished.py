"""What a run made of one image, read back from its folder: for the commands that export it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from omegaconf import OmegaConf
from torch import Tensor

from diffharmon import images
from diffharmon.config import build
from diffharmon.errors import InputError
from diffharmon.results import IMAGES
from diffharmon.types import Composite


@dataclass(frozen=True)
class FinishedImage:
    """A composite, read again from the files that the run used, and the run's result.

    Attributes:
        folder: Where the run's files of this image are.
        composite: What was harmonized.
        result: The result in sRGB.
        own: The result as its file holds it, in the photo's own colour space.
    """

    folder: Path
    composite: Composite
    result: Float[Tensor, "3 h w"]
    own: Float[Tensor, "3 h w"]


def read_finished(place: Path) -> FinishedImage:
    """Read one image of a run.

    Args:
        place: ``RUN/NAME``, ``RUN/images/NAME`` or, for a run of one image, ``RUN``.

    Raises:
        InputError: There is no finished image, its composite is not where it was, or it has changed.
    """
    folder = _folder(place.expanduser())
    record = _record(folder / "record.json")
    name = record["metrics"]["name"]
    dataset = build(OmegaConf.create(record["config"]["dataset"]))
    index = next((number for number in range(len(dataset)) if dataset.name(number) == name), None)
    if index is None:
        raise InputError(f"{folder}: the run's dataset holds no image {name} now")
    composite = dataset[index].blind()
    written = sorted(folder.glob("harmonized.*"))
    if not written:
        raise InputError(f"{folder} holds no harmonized image, expected the folder of a finished one")
    picture = images.read_image(written[0], max_megapixels=float("inf"), profiles=composite.encoded is not None)
    result, own = picture.image, picture.image if picture.encoded is None else picture.encoded
    if result.shape != composite.image.shape:
        composite = images.squash(composite, (result.shape[-2], result.shape[-1]))
    images.check_background(written[0], composite)
    return FinishedImage(folder, composite, result, own)


def _folder(place: Path) -> Path:
    options = [place, place.parent / IMAGES / place.name, *sorted((place / IMAGES).glob("*"))]
    found = [option for option in options if (option / "record.json").is_file()]
    if not found:
        raise InputError(f"{place} is no finished image of a run, expected RUN/NAME, such as outputs/.../composite")
    if found[0] in options[2:] and len(found) > 1:
        names = ", ".join(option.name for option in found[:5])
        raise InputError(f"{place} holds {len(found)} images ({names}, ...), expected one of them: {place}/NAME")
    return found[0]


def _record(path: Path) -> Any:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["metrics"]["name"], record["config"]["dataset"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as the record of an image ({error!r})") from error
    return record
