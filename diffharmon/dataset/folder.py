"""A folder of composites and a folder of masks, paired by name."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le

from diffharmon.dataset.reading import FileSettings, existing_folder, image_files, log_skipped, read_composite
from diffharmon.dataset.selection import choose
from diffharmon.errors import InputError
from diffharmon.images import MASK_FLOOR, MAX_MEGAPIXELS
from diffharmon.types import Composite

_IMAGE_ENDINGS = ("_composite", "_comp", "_image")
_MASK_ENDINGS = ("_mask", "_masks")
_REAL_ENDINGS = ("_real", "_gt")


@dataclass(frozen=True)
class _Entry:
    name: str
    image: Path | None
    mask: Path | None
    real: Path | None
    fault: str = ""


class Folder:
    """Composites paired with masks, and with real photos where given, by the names of the files without suffix.

    ``girl.jpg`` goes with ``girl.png`` or ``girl_mask.png``, ``girl_comp.png`` with ``girl_mask.png``. Images and masks
    may lie in one folder when the masks' names end in ``_mask``.

    Args:
        images: Folder of composites.
        masks: Folder of masks.
        reals: Folder of the photos as they really were; metrics need it.
        limit: Use only so many images, chosen by ``seed``.
        seed: Chooses the images when there is a limit.
        strict: Refuse the whole set when the pairing is not one to one; otherwise each file without its counterpart
            is an entry that raises when it is read.
        mask_channel: Which channel of a mask file is the mask: alpha, grey, red, green or blue; None follows the rule
            in ``images.masks``, which refuses a file that leaves it in doubt.
        label: The label of the foreground in mask files that are label maps.
        mask_floor: Levels of a mask up to this one, of 255, are background; 0 takes all levels as they are, as the
            public code does.
        max_megapixels: The largest number of pixels of a file, in millions.
        colour: Treat grey photos as ones with colours, which their results may then have.

    The composites come in natural order of their names (``2.png`` before ``10.png``); order pairs nothing.

    Raises:
        InputError: For a missing or empty folder, settings that do not fit, or (strict) for a pairing that is not one
            to one.
    """

    def __init__(
        self,
        images: str,
        masks: str,
        reals: str | None = None,
        limit: Annotated[int, Ge(1)] | None = None,
        seed: Annotated[int, Ge(0)] = 0,
        strict: bool = True,
        mask_channel: str | None = None,
        label: Annotated[int, Ge(0)] | None = None,
        mask_floor: Annotated[int, Ge(0), Le(255)] = MASK_FLOOR,
        max_megapixels: Annotated[int | float, Gt(0)] = MAX_MEGAPIXELS,
        colour: bool = False,
    ) -> None:
        self.settings = FileSettings(mask_channel, label, mask_floor, max_megapixels, colour)
        image_folder, mask_folder = existing_folder(images, "dataset.images"), existing_folder(masks, "dataset.masks")
        image_paths, mask_paths = image_files(image_folder), image_files(mask_folder)
        if image_folder.resolve() == mask_folder.resolve():
            image_paths = [path for path in image_paths if _bare(path, _MASK_ENDINGS) == _stem(path)]
            mask_paths = [path for path in mask_paths if _bare(path, _MASK_ENDINGS) != _stem(path)]
        if not image_paths:
            raise InputError(f"dataset.images {image_folder} holds no image files, expected some composites")
        real_folder = None if reals is None else existing_folder(reals, "dataset.reals")
        real_paths = None if real_folder is None else image_files(real_folder)
        log_skipped([image_folder, mask_folder, *([] if real_folder is None else [real_folder])])
        entries = _pair(image_paths, mask_paths, real_paths)
        if strict:
            _refuse_faults(entries, image_folder, mask_folder)
        names = [entry.name for entry in entries]
        self._entries = [entries[index] for index in choose(names, ["folder"] * len(names), limit, seed)]

    def __len__(self) -> int:
        """Count the composites."""
        return len(self._entries)

    def __getitem__(self, index: int) -> Composite:
        """Read one composite; raises ``InputError`` naming the file when it cannot be used."""
        files = self.files(index)
        name, real = self._entries[index].name, files.get("real")
        return read_composite(name, "folder", files["photo"], files["mask"], real, settings=self.settings)

    def files(self, index: int) -> dict[str, Path]:
        """Return the files that composite ``index`` is read from; raises ``InputError`` when they do not pair."""
        entry = self._entries[index]
        if entry.fault or entry.image is None or entry.mask is None:
            raise InputError(entry.fault)
        found = {"photo": entry.image, "mask": entry.mask}
        return found if entry.real is None else {**found, "real": entry.real}

    def name(self, index: int) -> str:
        """Return the stem of composite ``index``."""
        return self._entries[index].name


def _stem(path: Path) -> str:
    """A file's stem in composed form: macOS decomposes accents in file names."""
    return unicodedata.normalize("NFC", path.stem)


def _bare(path: Path, endings: Sequence[str]) -> str:
    stem = _stem(path)
    for ending in endings:
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return stem


def _by_stem(paths: Sequence[Path], endings: Sequence[str]) -> dict[str, list[Path]]:
    """Index files by their bare stem, and by their full stem where that is free."""
    table: dict[str, list[Path]] = {}
    for path in paths:
        table.setdefault(_bare(path, endings), []).append(path)
    for path in paths:
        table.setdefault(_stem(path), [path])
    return table


def _pair(images: Sequence[Path], masks: Sequence[Path], reals: Sequence[Path] | None) -> list[_Entry]:
    mask_table = _by_stem(masks, _MASK_ENDINGS)
    real_table = None if reals is None else _by_stem(reals, _REAL_ENDINGS)
    seen: dict[str, Path] = {}
    used: set[Path] = set()
    entries = []
    for image in images:
        keys = (_stem(image), _bare(image, _IMAGE_ENDINGS))
        found = _lookup(mask_table, keys)
        truth = [] if real_table is None else _lookup(real_table, keys)
        used.update(found)
        fault = ""
        name = _stem(image)
        if name in seen:
            fault = f"composite {image} has the same name as {seen[name].name}, expected unique names"
            name = image.name
        elif not found:
            fault = f"composite {image} has no mask named {keys[0]} in the folder of masks"
        elif len(found) > 1:
            fault = f"composite {image} has more than one mask: {', '.join(path.name for path in found)}"
        elif real_table is not None and len(truth) != 1:
            fault = f"composite {image} has {len(truth)} real photos named {keys[0]}, expected one"
        seen.setdefault(name, image)
        entries.append(_Entry(name, image, found[0] if found else None, truth[0] if truth else None, fault))
    for mask in masks:
        if mask not in used:
            entries.append(_Entry(mask.name, None, mask, None, f"mask {mask} has no composite of its name"))
    return entries


def _lookup(table: dict[str, list[Path]], keys: Sequence[str]) -> list[Path]:
    return next((table[key] for key in keys if key in table), [])


def _refuse_faults(entries: Sequence[_Entry], images: Path, masks: Path) -> None:
    faulty = [entry for entry in entries if entry.fault]
    if not faulty:
        return
    without_mask = [entry.image.name for entry in faulty if entry.image is not None and entry.mask is None]
    without_image = [entry.name for entry in faulty if entry.image is None]
    parts = []
    if without_mask:
        parts.append(f"{len(without_mask)} composites in {images} without a mask ({_some(without_mask)})")
    if without_image:
        parts.append(f"{len(without_image)} masks in {masks} without a composite ({_some(without_image)})")
    parts += [entry.fault for entry in faulty if entry.image is not None and entry.mask is not None][:3]
    raise InputError(f"composites and masks must pair one to one by name, found {'; '.join(parts)}")


def _some(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
