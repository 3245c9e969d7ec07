"""Verifying a download of a benchmark: counts, lists, names, missing, unreadable and wrongly sized files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from diffharmon.dataset.flat import Flat
from diffharmon.dataset.iharmony4 import SUBSETS, published_subset, single_list, subset_list, triple
from diffharmon.dataset.reading import existing_folder, image_files, read_composite
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
        # README of bcmi/Image-Harmonization-Dataset-ccHarmony
        "ccHarmony": MappingProxyType({"train": 3080, "test": 1180}),
        # README and demo of VITA-Group/SSHarmonization; the two papers that the real composites come from.
        "RealHM": MappingProxyType({"all": 216}),
        "real composites": MappingProxyType({"all": 99}),
    }
)
LAYOUTS = ("iharmony4", "ccharmony", "realhm", "real_composites")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: ``subset``, ``list``, ``count``, ``name``, ``pair``, ``missing``, ``unlisted``, ``unreadable``, ``size``
            or ``file`` (why the composite cannot be used, such as an empty mask).
        place: ``<Subset>/<split>``, or the dataset or subset.
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
                    names = subset_list(folder, subset, split)
                    if names is None:
                        own = folder / subset / f"{subset}_{split}.txt"
                        raise InputError(f"found no list, expected {own} or {folder / f'IHD_{split}.txt'}")
                except InputError as error:
                    complete = False
                    yield Problem("list", place, str(error))
                    continue
                listed.update(names)
                yield from _list_problems(place, names, published(published_subset(subset), split) if counts else None)
                judge = partial(_listed_problem, place, folder / subset, decode=decode)
                yield from (found for found in pool.map(judge, dict.fromkeys(names)) if found is not None)
            if complete and set(splits) == set(SPLITS):
                yield from _unlisted(folder / subset, listed)


def layout_of(root: str | Path) -> str:
    """Recognize the layout of a folder: one of ``LAYOUTS``.

    Raises:
        InputError: ``root`` is no folder.
    """
    folder = existing_folder(root, "root")
    inside = {path.name for path in folder.iterdir() if path.is_dir()}
    if any(published_subset(name) in SUBSETS for name in inside):
        return "iharmony4"
    if inside & {"composite_images", "composite"}:
        return "ccharmony"
    return "realhm" if any(name.startswith("vendor_testing") for name in inside) else "real_composites"


def subsets_of(root: str | Path) -> list[str]:
    """List iHarmony4's subsets, each by the folder that stands for it; a missing one by its published name."""
    inside = sorted(path.name for path in existing_folder(root, "root").iterdir() if path.is_dir())
    standing = {subset: [name for name in inside if published_subset(name) == subset] for subset in SUBSETS}
    return [name for subset, names in standing.items() for name in ([subset] if subset in names else names or [subset])]


def check_single(
    root: str | Path, splits: Sequence[str] = SPLITS, counts: bool = True, decode: bool = True, threads: int = 4
) -> Iterator[Problem]:
    """Check a single folder of iHarmony4's layout, such as ccHarmony; arguments as ``check``.

    Raises:
        InputError: ``root`` is no folder.
    """
    folder = existing_folder(root, "root")
    for split in splits:
        place = f"{folder.name}/{split}"
        try:
            names = single_list(folder, split)
        except InputError as error:
            yield Problem("list", place, str(error))
            continue
        yield from _list_problems(place, names, published("ccHarmony", split) if counts else None)
        judge = partial(_listed_problem, place, folder, decode=decode)
        with ThreadPoolExecutor(threads) as pool:
            yield from (found for found in pool.map(judge, dict.fromkeys(names)) if found is not None)


def check_flat(
    dataset: Flat, published_name: str = "", counts: bool = True, decode: bool = True, threads: int = 4
) -> Iterator[Problem]:
    """Check a benchmark whose files lie side by side.

    Args:
        dataset: The whole benchmark.
        published_name: Its name in ``PUBLISHED``.
        counts: As ``check``.
        decode: As ``check``.
        threads: As ``check``.
    """
    place, expected = dataset.source, published(published_name, "all")
    if counts and expected is not None and len(dataset) != expected:
        yield Problem("count", place, f"{len(dataset):,} composites are there, {expected:,} were published")

    def judge(index: int) -> Problem | None:
        try:
            files = dataset.files(index)
        except InputError as error:
            return Problem("pair", place, str(error))
        return _file_problem(place, dataset.name(index), files, decode)

    with ThreadPoolExecutor(threads) as pool:
        yield from (found for found in pool.map(judge, range(len(dataset))) if found is not None)


def published(name: str, split: str) -> int | None:
    """Return how many composites were published; None where that is not known."""
    return PUBLISHED.get(name, {}).get(split)


def _list_problems(place: str, names: Sequence[str], published: int | None) -> Iterator[Problem]:
    if published is not None and len(names) != published:
        yield Problem("count", place, f"{len(names):,} composites are listed, {published:,} were published")
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        yield Problem("list", place, f"{len(repeated)} names stand twice: {', '.join(repeated[:5])}")


def _listed_problem(place: str, folder: Path, name: str, decode: bool) -> Problem | None:
    """Check one listed composite with its mask and real photo; returns the first thing that is wrong."""
    try:
        files = triple(folder, name)
    except InputError:
        return Problem("name", place, f"{name} is listed, expected a name <image>_<mask>_<number>.jpg")
    return _file_problem(place, name, files, decode)


def _file_problem(place: str, name: str, files: Mapping[str, Path], decode: bool) -> Problem | None:
    titles = {"photo": "composite", "mask": "mask", "real": "real photo"}
    for kind, path in files.items():
        if not path.is_file():
            return Problem("missing", place, f"{titles[kind]} {path} of {name} does not exist")
    try:
        sizes = [image_size(path) for path in files.values()]
    except InputError as error:
        return Problem("unreadable", place, f"{name}: {error}")
    if len(set(sizes)) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sizes)
        kinds = ", ".join(titles[kind] for kind in files)
        return Problem("size", place, f"the files of {name} ({kinds}) differ in size: {shown}")
    try:
        if decode:
            read_composite(files["photo"].stem, place, files["photo"], files["mask"], files.get("real"))
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
