"""iHarmony4 and datasets of its layout, by the official lists."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le

from diffharmon.dataset.reading import FileSettings, existing_folder, image_files, read_composite, read_list
from diffharmon.dataset.selection import choose
from diffharmon.errors import InputError
from diffharmon.images import MASK_FLOOR, MAX_MEGAPIXELS, SUFFIXES, Filter
from diffharmon.types import Composite

SUBSETS = ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night")
_COMPOSITES = ("composite_images", "composite")
_MASKS = ("masks", "mask")
_REALS = ("real_images", "real")


@dataclass(frozen=True)
class _Entry:
    source: str
    folder: Path
    file: str


class IHarmony4:
    """The composites of iHarmony4 (Cong et al., CVPR 2020) with masks and real photos.

    ``<image>_<mask>_<k>.jpg`` in ``composite_images`` goes with ``<image>_<mask>.png`` in ``masks`` and ``<image>.jpg``
    in ``real_images``; names are taken apart from the right, since image names hold hyphens and (in ccHarmony)
    underscores. The lists are ``<Subset>/<Subset>_<split>.txt``, else the only ``*_<split>.txt`` there, else
    ``IHD_<split>.txt``; of their lines the file name counts, and a file saved in another format than listed is found.
    ``root`` may also be a single folder of this layout, such as one subset's or ccHarmony's, whose lists name
    ``<image>_<mask>`` for all composites of that foreground.

    Args:
        root: Where the subsets lie.
        subset: One or more of HCOCO, HAdobe5k, HFlickr, Hday2night, or of folders that stand for one, such as
            HAdobe5kr; None means all of the four that are listed.
        split: ``test`` or ``train``.
        size: Side of the square to which composite, mask and real are resized (the usual protocol has 256); None keeps
            the full size.
        filter: Filter of that resize, PIL's (antialiased) on 8 bits.
        limit: Use only so many images, chosen by ``seed`` with each subset's share.
        seed: Chooses the images when there is a limit.
        source: Name in tables of a single folder; None takes the folder's.
        mask_channel: Which channel of a mask file is the mask: alpha, grey, red, green or blue; None follows the rule
            in ``images.masks``, which refuses a file that leaves it in doubt.
        label: The label of the foreground in mask files that are label maps.
        mask_floor: Levels of a mask up to this one, of 255, are background; 0 takes all levels as they are, as the
            public code does.
        max_megapixels: The largest number of pixels of a file, in millions.

    Raises:
        InputError: For a missing folder or list, an empty or a repeating list, or an unknown filter.
    """

    def __init__(
        self,
        root: str,
        subset: str | Sequence[str] | None = None,
        split: str = "test",
        size: Annotated[int, Ge(8), Le(16384)] | None = None,
        filter: Filter = "bicubic",
        limit: Annotated[int, Ge(1)] | None = None,
        seed: Annotated[int, Ge(0)] = 0,
        source: str | None = None,
        mask_channel: str | None = None,
        label: Annotated[int, Ge(0)] | None = None,
        mask_floor: Annotated[int, Ge(0), Le(255)] = MASK_FLOOR,
        max_megapixels: Annotated[int | float, Gt(0)] = MAX_MEGAPIXELS,
    ) -> None:
        self.settings = FileSettings(mask_channel, label, mask_floor, max_megapixels, profiles=False)
        self.root = existing_folder(root, "dataset.root (set IHARMONY4_ROOT)")
        self.split, self.size, self.filter = split, size, filter
        subsets = [subset] if isinstance(subset, str) else None if subset is None else list(subset)
        entries = self._entries_of(subsets, source)
        names = [Path(entry.file).stem for entry in entries]
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            raise InputError(f"the {split} lists of {self.root} name images twice: {', '.join(repeated[:5])}")
        if not entries:
            raise InputError(f"the {split} lists of {self.root} are empty, expected names of composites")
        self._entries = [entries[i] for i in choose(names, [entry.source for entry in entries], limit, seed)]

    def __len__(self) -> int:
        """Count the composites."""
        return len(self._entries)

    def __getitem__(self, index: int) -> Composite:
        """Read one composite; raises ``InputError`` naming the file when it cannot be used."""
        files = self.files(index)
        name, source = self.name(index), self._entries[index].source
        photo, mask, real = (files[kind] for kind in ("photo", "mask", "real"))
        return read_composite(name, source, photo, mask, real, self.size, self.filter, self.settings)

    def files(self, index: int) -> dict[str, Path]:
        """Return the files that composite ``index`` is read from; raises ``InputError`` for a name without parts."""
        entry = self._entries[index]
        return triple(entry.folder, entry.file)

    def name(self, index: int) -> str:
        """Return the composite's file name without its suffix."""
        return Path(self._entries[index].file).stem

    def _entries_of(self, subsets: list[str] | None, source: str | None) -> list[_Entry]:
        if _part(self.root, _COMPOSITES).is_dir():
            if subsets not in (None, [self.root.name]):
                raise InputError(f"dataset.root {self.root} is a single subset, expected no other dataset.subset")
            return [_Entry(source or self.root.name, self.root, file) for file in single_list(self.root, self.split)]
        entries = []
        for subset in subsets or SUBSETS:
            names = subset_list(self.root, subset, self.split)
            if names is None:
                if subsets is None and not (self.root / subset).exists():
                    continue
                raise InputError(
                    f"found no list of {subset}'s {self.split} images, expected "
                    f"{self.root / subset / f'{subset}_{self.split}.txt'} or {self.root / f'IHD_{self.split}.txt'}"
                )
            if subsets is not None and not (self.root / subset).is_dir():
                found = sorted(folder.name for folder in self.root.iterdir() if folder.is_dir())
                raise InputError(f"dataset.subset {subset} is not in {self.root}, which holds {', '.join(found)}")
            entries += [_Entry(subset, self.root / subset, name) for name in names]
        if not entries and subsets is None:
            raise InputError(f"{self.root} holds none of {', '.join(SUBSETS)}, expected the layout of iHarmony4")
        return entries


def triple(folder: Path, file: str) -> dict[str, Path]:
    """Return photo, mask and real photo of a listed composite; raises ``InputError`` for a name without parts."""
    name, suffix = Path(file).stem, Path(file).suffix
    parts = name.rsplit("_", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(f"{file} of {folder.name} is not named <image>_<mask>_<number> as iHarmony4's files")
    photo = find_image(_part(folder, _COMPOSITES), name, suffix)
    return {
        "photo": photo,
        "mask": find_image(_part(folder, _MASKS), f"{parts[0]}_{parts[1]}", ".png"),
        "real": find_image(_part(folder, _REALS), parts[0], photo.suffix),
    }


def published_subset(folder: str) -> str:
    """Return the subset that a folder stands for: HAdobe5kr or HAdobe5k_resized1024 hold the shrunk HAdobe5k."""
    return next((subset for subset in SUBSETS if folder.startswith(subset)), folder)


def subset_list(root: Path, subset: str, split: str) -> list[str] | None:
    """Read the names of a subset's composites from its own list, else from the common one; None without a list."""
    own = root / subset / f"{subset}_{split}.txt"
    lists = [own] if own.exists() else sorted((root / subset).glob(f"*_{split}.txt"))
    if len(lists) == 1:
        return [line.split("/")[-1] for line in read_list(lists[0])]
    common = root / f"IHD_{split}.txt"
    if not common.exists():
        return None
    lines = read_list(common)
    chosen = of_subset(lines, subset) or of_subset(lines, published_subset(subset))
    return [line.split("/")[-1] for line in chosen]


def single_list(root: Path, split: str) -> list[str]:
    """Read the names of the composites of a single folder, those of all its listed foregrounds.

    Raises:
        InputError: There is no list.
    """
    candidates = (f"{root.name}_{split}.txt", f"{split}.txt", f"IHD_{split}.txt", f"{split}_list.txt")
    for candidate in candidates:
        if (root / candidate).exists():
            return _expand(read_list(root / candidate), _part(root, _COMPOSITES))
    raise InputError(f"found no list of {split} images in {root}, expected one of {', '.join(candidates)}")


def _expand(lines: Sequence[str], folder: Path) -> list[str]:
    """Replace names of foregrounds by the files of all their composites."""
    files: dict[str, list[str]] = {}
    for path in image_files(folder):
        files.setdefault(path.stem.rsplit("_", 1)[0], []).append(path.name)
    expanded = []
    for line in lines:
        name = line.split("/")[-1]
        is_file = Path(name).suffix.lower() in SUFFIXES
        expanded += [name] if is_file else files.get(name, [f"{name}_1.jpg"])
    return expanded


def _part(root: Path, names: Sequence[str]) -> Path:
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


def of_subset(lines: Sequence[str], subset: str) -> list[str]:
    """Choose a subset's lines of a common list; ``./``, ``iHarmony4/`` or an absolute path may stand before it."""
    return [line for line in lines if subset in line.split("/")[:-1]]


def find_image(folder: Path, stem: str, expected: str) -> Path:
    """Find the file of this stem with the expected suffix, or with another one where only that exists."""
    paths = [folder / f"{stem}{suffix}" for suffix in dict.fromkeys((expected, *SUFFIXES))]
    return next((path for path in paths if path.exists()), paths[0])
