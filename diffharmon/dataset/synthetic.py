"""Triples made from real photos: the foreground is graded by condition words, the untouched photo is the truth."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition import grades
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.dataset.reading import existing_folder, image_files
from diffharmon.dataset.selection import choose
from diffharmon.errors import ConfigError, InputError
from diffharmon.files import write_text
from diffharmon.images import MASK_THRESHOLD, from_uint8, read_image, read_mask, to_uint8
from diffharmon.types import Composite, Description

_WORD_COUNT_SHARES = (0.45, 0.3, 0.15, 0.1)  # descriptions of one, two, three and four words
_ATTEMPTS = 50
_UNNAMED = frozenset({"salient", "region", "object", "foreground", "mask", ""})


@dataclass(frozen=True)
class _Entry:
    name: str
    source: str
    photo: Path
    mask: Path
    noun: str


class Synthetic:
    """Composites as iHarmony4's, made from photos with object masks by grading the object with condition words.

    A folder of photos holds ``*.jpg`` (or any other image); its masks are ``<photo>__<k>__<class>.png`` or
    ``<photo>.png``, white is the object. ``photos`` may also be a folder of such folders, each with its own ``masks``.
    Composites are named ``<photo>_<k>_<n>`` as iHarmony4's. The draw of words and of the grade's settings is seeded by
    ``seed`` and the composite's name alone; words are redrawn until the composite's foreground lies between
    ``min_psnr`` and ``max_psnr`` from the photo. Composites are quantized to 8 bits.

    Args:
        photos: Folder of photos, or folder of folders of photos.
        masks: Folder of the masks; null is the folder ``masks`` beside the photos.
        count: How many composites to make, over the masks in a fixed random order, several a mask when there are more
            than masks; null makes one a mask.
        seed: Chooses masks, words and grades.
        limit: Use only so many of them, with each source's share.
        min_area: Minimum share of the photo that the object covers; smaller ones are skipped.
        max_area: Maximum share; larger ones are skipped.
        min_psnr: Minimum foreground PSNR of a composite in dB.
        max_psnr: Maximum foreground PSNR of a composite in dB.
        neutral: The word for the light of the untouched photo.
        words: Write the true descriptions here as ``write_words`` does, for ``describer=file``; null writes nothing.

    Raises:
        InputError: For a missing folder, photos without usable masks, repeated names, or bounds out of order.
    """

    def __init__(
        self,
        photos: str,
        masks: str | None = None,
        count: Annotated[int, Ge(1), Le(1_000_000)] | None = None,
        seed: Annotated[int, Ge(0)] = 0,
        limit: Annotated[int, Ge(1)] | None = None,
        min_area: Annotated[float, Ge(0), Le(1)] = 0.02,
        max_area: Annotated[float, Ge(0), Le(1)] = 0.75,
        min_psnr: float = 10.0,
        max_psnr: float = 28.0,
        neutral: str = "daylight",
        words: str | None = None,
    ) -> None:
        if not min_area < max_area:
            raise ConfigError(f"min_area: expected less than max_area, {max_area}, got {min_area}")
        if not min_psnr < max_psnr:
            raise ConfigError(f"min_psnr: expected less than max_psnr, {max_psnr} dB, got {min_psnr} dB")
        self.seed, self.min_psnr, self.max_psnr, self.neutral = seed, min_psnr, max_psnr, neutral
        folder = existing_folder(photos, "dataset.photos")
        found = sorted(_pairs(folder, masks), key=lambda entry: self._digest(entry.name))
        entries = _repeat(found, count, (min_area, max_area))
        if not entries:
            raise InputError(
                f"{folder} gives no composite: {len(found)} masks of its photos found, expected some that cover "
                f"{min_area:.0%} to {max_area:.0%} of their photo"
            )
        names = [entry.name for entry in entries]
        self._entries = [entries[i] for i in choose(names, [entry.source for entry in entries], limit, seed)]
        if words is not None:
            self.write_words(words)

    def __len__(self) -> int:
        """Count the composites."""
        return len(self._entries)

    def __getitem__(self, index: int) -> Composite:
        """Make one composite; raises ``InputError`` naming the file when photo or mask cannot be used."""
        entry = self._entries[index]
        picture = read_image(entry.photo)
        mask = _read_fitting(entry, picture.image)
        composite, _ = self._graded(entry, picture.image, mask)
        made = picture.composite(entry.name, entry.source, mask, picture.image).in_srgb()
        return replace(made, image=composite, depth=8, grey=False)

    def name(self, index: int) -> str:
        """Return the name of composite ``index``, ``<photo>_<k>_<n>``."""
        return self._entries[index].name

    def description(self, index: int) -> Description:
        """Return the true words: the grade's for the foreground, the neutral one for the untouched background."""
        entry = self._entries[index]
        image = read_image(entry.photo).image
        _, words = self._graded(entry, image, _read_fitting(entry, image))
        return Description(entry.noun, words, (self.neutral,), "synthetic")

    def write_words(self, path: str | os.PathLike[str]) -> None:
        """Write the true descriptions as JSON lines, which ``describer=file`` reads; whole or not at all.

        A composite that cannot be made has none.
        """
        rows = []
        for index in range(len(self)):
            try:
                description = self.description(index)
            except InputError:
                continue
            rows.append(json.dumps({"name": self.name(index), **description.row()}))
        write_text(Path(path).expanduser(), "\n".join(rows) + "\n")

    def _digest(self, name: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:7], "big")

    def _graded(
        self, entry: _Entry, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"]
    ) -> tuple[Float[Tensor, "3 h w"], tuple[str, ...]]:
        """Grade the foreground, so far as that is possible within the bounds of difficulty."""
        generator = torch.Generator().manual_seed(self._digest(entry.name))
        inside = mask[0] > MASK_THRESHOLD
        pixels = image[:, inside][:, None]
        for _ in range(_ATTEMPTS):
            words = draw_words(generator, (self.neutral,))
            grade = grades.sample(words, generator)
            error = (grade(pixels) - pixels).square().mean().clamp_min(1e-9)
            if self.min_psnr < -10 * error.log10() < self.max_psnr:
                break
        composite = from_uint8(to_uint8(grade(image) * mask + image * (1 - mask)))
        return torch.where(mask > 0, composite, image), words


def draw_words(generator: torch.Generator, exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Draw one to four condition words, at most one of each list of the vocabulary (paper section 3.1)."""
    count = int(torch.multinomial(torch.tensor(_WORD_COUNT_SHARES), 1, generator=generator)) + 1
    names = list(VOCABULARY)
    lists = sorted(torch.randperm(len(names), generator=generator).tolist()[:count])
    words = []
    for place in lists:
        choices = [word for word in VOCABULARY[names[place]] if word not in exclude]
        words.append(choices[int(torch.randint(len(choices), (), generator=generator))])
    return tuple(words)


def _pairs(folder: Path, masks: str | None) -> Iterator[_Entry]:
    """Pair photos with masks; raises for names that two composites would share."""
    seen: dict[str, Path] = {}
    for photo_folder, mask_folder in _folders(folder, masks):
        by_photo: dict[str, list[Path]] = {}
        for path in image_files(mask_folder):
            by_photo.setdefault(path.stem.split("__")[0], []).append(path)
        for photo in image_files(photo_folder):
            for place, mask in enumerate(by_photo.get(photo.stem, [])):
                _, _, rest = mask.stem.partition("__")
                number, _, label = rest.partition("__")
                name = f"{photo.stem}_{number.replace('_', '-') or place}_1"
                if name in seen:
                    raise InputError(f"{mask} and {seen[name]} both give the composite {name}, expected unique names")
                seen[name] = mask
                yield _Entry(name, photo_folder.name, photo, mask, _noun(label))


def _folders(folder: Path, masks: str | None) -> list[tuple[Path, Path]]:
    if masks is not None:
        return [(folder, existing_folder(masks, "dataset.masks"))]
    inside = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    return [(path, path / "masks") for path in inside if (path / "masks").is_dir()]


def _noun(label: str) -> str:
    found = re.findall(r"[a-z]+", label.lower())
    return "object" if not found or found[-1] in _UNNAMED else found[-1]


def _repeat(found: Sequence[_Entry], count: int | None, bounds: tuple[float, float]) -> list[_Entry]:
    """Take ``count`` entries with usable masks, the next grade of each mask after all masks had their turn."""
    usable: list[_Entry] = []
    for entry in found:
        if count is not None and len(usable) >= count:
            break
        share = _share(entry.mask)
        if share is None or bounds[0] <= share <= bounds[1]:
            usable.append(entry)
    if not usable:
        return []
    wanted = len(usable) if count is None else count
    entries = []
    for place in range(wanted):
        turn, index = divmod(place, len(usable))
        first = usable[index]
        name = f"{first.name.rsplit('_', 1)[0]}_{turn + 1}"
        entries.append(_Entry(name, first.source, first.photo, first.mask, first.noun))
    return entries


def _share(path: Path) -> float | None:
    """The share of the photo that a mask covers; None for a file that cannot be read, which fails when it is used."""
    try:
        return float((read_mask(path) > MASK_THRESHOLD).float().mean())
    except InputError:
        return None


def _read_fitting(entry: _Entry, image: Float[Tensor, "3 h w"]) -> Float[Tensor, "1 h w"]:
    mask = read_mask(entry.mask)
    if mask.shape[-2:] != image.shape[-2:]:
        given, expected = mask.shape[-2:], image.shape[-2:]
        raise InputError(
            f"mask {entry.mask} is {given[1]} x {given[0]} pixels, expected {expected[1]} x {expected[0]} "
            f"(width x height) as {entry.photo}"
        )
    return mask
