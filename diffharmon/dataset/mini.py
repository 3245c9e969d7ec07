"""The built-in benchmark: a fixed set of triples that needs no files beside the dependencies."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.grades import SETTINGS, apply
from diffharmon.dataset.selection import choose
from diffharmon.errors import InputError
from diffharmon.files import ASSETS
from diffharmon.images import from_uint8, read_image, read_mask, to_uint8
from diffharmon.types import Composite, Description

FOLDER = ASSETS / "mini"
TABLE = FOLDER / "triples.jsonl"


@dataclass(frozen=True)
class _Photo:
    package: str
    file: str
    crop: tuple[int, int, int, int] | None = None  # left, top, right, bottom


# Photos of scikit-image: astronaut (NASA, public domain), chelsea (Stefan van der Walt, CC0), coffee (Rachel Michetti,
# CC0), rocket (SpaceX, public domain), motorcycle_left (Middlebury 2014 stereo benchmark, Scharstein et al.); of
# scikit-learn, both CC BY 2.0: china (danielbuechele), flower (vultilion).
_PHOTOS: Mapping[str, _Photo] = {
    "astronaut": _Photo("skimage", "data/astronaut.png"),
    "chelsea": _Photo("skimage", "data/chelsea.png"),
    "coffee": _Photo("skimage", "data/coffee.png"),
    "rocket": _Photo("skimage", "data/rocket.jpg", (200, 100, 440, 427)),
    "motorcycle": _Photo("skimage", "data/motorcycle_left.png"),
    "china": _Photo("sklearn", "datasets/images/china.jpg"),
    "flower": _Photo("sklearn", "datasets/images/flower.jpg"),
}


class Mini:
    """Composites of eight objects in seven photos, each object under four grades of condition words.

    The photos are installed with scikit-image and scikit-learn; masks and the table of grades lie in
    ``diffharmon/assets/mini``. The table (``triples.jsonl``) holds each composite's true words and the settings of its
    grade, which were drawn once by ``condition.grades.sample`` and written down, so that the set stays as it is when
    the vocabulary's grades are tuned. Grading is computed in float64 and quantized to 8 bits, which makes the set the
    same on every machine. The untouched photo counts as "daylight", whatever it shows. No description is handed out
    with a composite.

    Args:
        limit: Use only so many composites, with each photo's share.
        seed: Chooses the composites when there is a limit.

    Raises:
        InputError: For a limit below 1.
    """

    def __init__(self, limit: int | None = None, seed: int = 0) -> None:
        rows = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
        names = [row["name"] for row in rows]
        sources = [name.split("_")[0] for name in names]
        self._rows = [rows[index] for index in choose(names, sources, limit, seed)]

    def __len__(self) -> int:
        """Count the composites."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Composite:
        """Make one composite at its photo's size, at most 741 x 512 pixels."""
        row = self._rows[index]
        photo, number, _ = row["name"].split("_")
        real = _read(_PHOTOS[photo])
        mask = read_mask(FOLDER / f"{photo}_{number}.png")
        settings = [float(row["settings"].get(name, 0.0)) for name in SETTINGS]
        graded = apply(real.double(), torch.tensor(settings, dtype=torch.float64))
        composite = torch.where(mask > 0, from_uint8(to_uint8(graded)), real)
        return Composite(row["name"], "mini", composite, mask, real)

    def name(self, index: int) -> str:
        """Return the name of composite ``index``, ``<photo>_<object>_<grade>``."""
        return self._rows[index]["name"]

    def description(self, index: int) -> Description:
        """Return the true words of composite ``index``."""
        row = self._rows[index]
        return Description(row["object"], tuple(row["foreground"]), tuple(row["background"]), "mini")


def _read(photo: _Photo) -> Float[Tensor, "3 h w"]:
    found = find_spec(photo.package)
    if found is None or found.origin is None:
        raise InputError(f"dataset=mini needs the photos of {photo.package}, which is not installed")
    # Values as they are stored: the benchmark's numbers were measured on them, and one photo has a profile.
    image = read_image(Path(found.origin).parent / photo.file, profiles=False).image
    if photo.crop is None:
        return image
    left, top, right, bottom = photo.crop
    return image[:, top:bottom, left:right].contiguous()
