"""Verifying a download of iHarmony4: counts, lists, names, missing, unreadable and ill-sized files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from diffharmon.dataset.iharmony4 import SUBSETS, find_image, of_subset
from diffharmon.dataset.reading import existing_folder, image_files, read_composite, read_list
from diffharmon.errors import InputError
from diffharmon.images import image_size

SPLITS = ("train", "test")
# Composites by subset and split: 65,742 and 7,404 altogether (README of bcmi/Image-Harmonization-Dataset-iHarmony4).
PUBLISHED: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "HCOCO": MappingProxyType({"train": 38545, "test": 4283}),
        "HAdobe5k": MappingProxyType({"train": 19437, "test": 2160}),
        "HFlickr": MappingProxyType({"train": 7449, "test": 828}),
        "Hday2night": MappingProxyType({"train": 311, "test": 133}),
    }
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: ``subset``, ``list``, ``count``, ``name``, ``missing``, ``unlisted``, ``unreadable``, ``size`` or ``file``
            (why the composite cannot be used, such as an empty mask).
        place: ``<Subset>/<split>`` or ``<Subset>``.
        text: What was found and what was expected.
    """

    kind: str
    place: str
    text: str


def check(
    root: str | Path,
    subsets: Sequence[str] = SUBSETS,
    splits: Sequence[str] = SPLITS,
    counts: bool = True,
    decode: bool = True,
    threads: int = 4,
) -> Iterator[Problem]:
    """Check a folder with iHarmony4's subsets; yields what is wrong as it is found.

    Args:
        root: Where the subsets lie.
        subsets: Which subsets to expect.
        splits: Which lists to expect.
        counts: Compare the number of listed composites with the published one; off for a sample of the dataset.
        decode: Read every pixel as a run would. Otherwise only existence and the sizes in the files' headers are looked
            at, which finds no truncated file and no empty mask.
        threads: Files are read by so many threads.

    Raises:
        InputError: ``root`` is no folder, or holds none of the subsets.
    """
    folder = existing_folder(root, "root")
    if not any((folder / subset).is_dir() for subset in subsets):
        raise InputError(f"{folder} holds none of {', '.join(subsets)}, expected the layout of iHarmony4")
    with ThreadPoolExecutor(threads) as pool:
        for subset in subsets:
            if not (folder / subset).is_dir():
                yield Problem("subset", subset, f"the folder {folder / subset} is missing")
                continue
            listed: set[str] = set()
            complete = True
            for split in splits:
                place = f"{subset}/{split}"
                try:
                    names = _listed(folder, subset, split)
                except InputError as error:
                    complete = False
                    yield Problem("list", place, str(error))
                    continue
                listed.update(names)
                yield from _list_problems(place, names, PUBLISHED[subset][split] if counts else None)
                judge = partial(_file_problem, place, folder / subset, decode=decode)
                yield from (found for found in pool.map(judge, dict.fromkeys(names)) if found is not None)
            if complete and set(splits) == set(SPLITS):
                yield from _unlisted(folder / subset, listed)


def _listed(root: Path, subset: str, split: str) -> list[str]:
    """Names of the listed composites, repeated ones as often as they stand there."""
    own, common = root / subset / f"{subset}_{split}.txt", root / f"IHD_{split}.txt"
    path = own if own.is_file() else common
    if not path.is_file():
        raise InputError(f"found no list, expected {own} or {common}")
    lines = read_list(path)
    return [line.split("/")[-1] for line in (lines if path == own else of_subset(lines, subset))]


def _list_problems(place: str, names: Sequence[str], published: int | None) -> Iterator[Problem]:
    if published is not None and len(names) != published:
        yield Problem("count", place, f"{len(names):,} composites are listed, {published:,} were published")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        yield Problem("list", place, f"{len(repeated)} names stand twice: {', '.join(repeated[:5])}")


def _file_problem(place: str, folder: Path, name: str, decode: bool) -> Problem | None:
    """Check one composite with its mask and real photo; gives the first thing that is wrong."""
    parts = Path(name).stem.rsplit("_", 2)
    if len(parts) < 3 or not all(parts):
        return Problem("name", place, f"{name} is listed, expected a name <image>_<mask>_<number>.jpg")
    image = find_image(folder / "composite_images", Path(name).stem, Path(name).suffix)
    mask = find_image(folder / "masks", f"{parts[0]}_{parts[1]}", ".png")
    real = find_image(folder / "real_images", parts[0], image.suffix)
    for what, path in (("composite", image), ("mask", mask), ("real photo", real)):
        if not path.is_file():
            return Problem("missing", place, f"{what} {path} of {name} does not exist")
    try:
        sizes = [image_size(path) for path in (image, mask, real)]
    except InputError as error:
        return Problem("unreadable", place, f"{name}: {error}")
    if len(set(sizes)) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sizes)
        return Problem("size", place, f"composite, mask and real photo of {name} differ in size: {shown}")
    try:
        if decode:
            read_composite(image.stem, place, image, mask, real)
    except InputError as error:
        return Problem("file", place, str(error))
    return None


def _unlisted(folder: Path, listed: set[str]) -> Iterator[Problem]:
    composites = folder / "composite_images"
    stems = {Path(name).stem for name in listed}  # Files may be saved in another format than listed.
    present = image_files(composites) if composites.is_dir() else []
    unlisted = [path.name for path in present if path.stem not in stems]
    if unlisted:
        yield Problem(
            "unlisted", folder.name, f"{len(unlisted)} composites stand in no list: {', '.join(unlisted[:5])}"
        )
