"""Benchmarks whose composites, masks and real photos lie side by side, distinguished by the endings of their names."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen
from natsort import natsorted

from diffharmon.dataset.reading import FileSettings, existing_folder, read_composite
from diffharmon.dataset.selection import choose
from diffharmon.errors import InputError
from diffharmon.images import MASK_FLOOR, MAX_MEGAPIXELS, SUFFIXES
from diffharmon.types import Composite

log = logging.getLogger(__name__)


@dataclass
class _Entry:
    """The files whose names differ in their endings only."""

    folder: Path
    stem: str
    composites: dict[str, list[Path]] = field(default_factory=dict)
    masks: list[Path] = field(default_factory=list)
    reals: list[Path] = field(default_factory=list)
    name: str = ""


class Flat:
    """Composites with masks, and real photos where there are some, in one folder or in folders below it.

    ``girl_composite.jpg`` goes with ``girl_mask.png`` and ``girl_gt.jpg`` of the same folder; the endings are settings.
    So lie RealHM (Jiang et al., ICCV 2021), in folders ``vendor_testing_1`` to ``3``, and the 99 real composites of
    Xue et al. (2012) and Tsai et al. (CVPR 2017), which have no ground truth. Other images are skipped.

    Args:
        root: The folder; folders below it are searched too, hidden ones and ``__MACOSX`` left out.
        composites: Endings of composites, the first that exists counts; an empty one takes the bare name.
        masks: Endings of masks.
        reals: Endings of real photos; null for a benchmark without ground truth.
        source: Name of the dataset in tables; null takes the folder's.
        limit: Use only so many images, chosen by ``seed``.
        seed: Chooses the images when there is a limit.
        mask_channel: Which channel of a mask file is the mask: alpha, grey, red, green or blue; None follows the rule
            in ``images.masks``, which refuses a file that leaves it in doubt.
        label: The label of the foreground in mask files that are label maps.
        mask_floor: Levels of a mask up to this one, of 255, are background; 0 takes all levels as they are, as the
            public code does.
        max_megapixels: The largest number of pixels of a file, in millions.

    A composite whose files do not pair is an entry that raises when it is read, so it never stops a run.

    Raises:
        InputError: For a missing folder, or one in which no composite has its mask.
    """

    def __init__(
        self,
        root: str,
        composites: Annotated[Sequence[str], MinLen(1)] = ("_composite", "_comp", "_image", ""),
        masks: Annotated[Sequence[str], MinLen(1)] = ("_mask", "_masks"),
        reals: Annotated[Sequence[str], MinLen(1)] | None = None,
        source: str | None = None,
        limit: Annotated[int, Ge(1)] | None = None,
        seed: Annotated[int, Ge(0)] = 0,
        mask_channel: str | None = None,
        label: Annotated[int, Ge(0)] | None = None,
        mask_floor: Annotated[int, Ge(0), Le(255)] = MASK_FLOOR,
        max_megapixels: Annotated[int | float, Gt(0)] = MAX_MEGAPIXELS,
    ) -> None:
        self.settings = FileSettings(mask_channel, label, mask_floor, max_megapixels, profiles=False)
        self.composites, self.masks, self.reals = tuple(composites), tuple(masks), tuple(reals or ())
        folder = existing_folder(root, "dataset.root")
        self.source = source or folder.resolve().name
        entries = self._entries_of(folder)
        if not any(entry.composites and entry.masks for entry in entries):
            shown = " or ".join(f"NAME{ending}" for ending in self.composites)
            raise InputError(f"{folder} holds no composite {shown} with a mask NAME{self.masks[0]}, expected some")
        names = [entry.name for entry in entries]
        self._entries = [entries[index] for index in choose(names, [self.source] * len(names), limit, seed)]

    def __len__(self) -> int:
        """Count the composites."""
        return len(self._entries)

    def __getitem__(self, index: int) -> Composite:
        """Read one composite; raises ``InputError`` naming the file when it cannot be used."""
        files = self.files(index)
        photo, mask, real = files["photo"], files["mask"], files.get("real")
        return read_composite(self.name(index), self.source, photo, mask, real, settings=self.settings)

    def files(self, index: int) -> dict[str, Path]:
        """Return the files that composite ``index`` is read from; raises ``InputError`` when they do not pair."""
        entry = self._entries[index]
        photos = next((entry.composites[ending] for ending in self.composites if ending in entry.composites), [])
        found = {"photo": photos, "mask": entry.masks} | ({"real": entry.reals} if self.reals else {})
        for kind, paths in found.items():
            if len(paths) != 1:
                shown = f" ({', '.join(path.name for path in paths)})" if paths else ""
                what = f"{entry.folder / entry.stem} has {len(paths)} files for its {kind}{shown}"
                raise InputError(f"{what}, expected one")
        return {kind: paths[0] for kind, paths in found.items()}

    def name(self, index: int) -> str:
        """Return what the names of composite ``index``'s files have in common."""
        return self._entries[index].name

    def _entries_of(self, root: Path) -> list[_Entry]:
        """Sort the images below a folder by what their names have in common; a name that repeats gets its folder's."""
        entries: dict[tuple[Path, str], _Entry] = {}
        skipped = []
        for path in _images_below(root):
            for kind, endings in (("mask", self.masks), ("real", self.reals), ("composite", self.composites)):
                ending = next((ending for ending in endings if _ends(path.stem, ending)), None)
                if ending is not None:
                    stem = path.stem[: len(path.stem) - len(ending)]
                    entry = entries.setdefault((path.parent, stem), _Entry(path.parent, stem))
                    target = {"mask": entry.masks, "real": entry.reals}
                    (target[kind] if kind in target else entry.composites.setdefault(ending, [])).append(path)
                    break
            else:
                skipped.append(path.name)
        if skipped:
            shown = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
            log.warning("%d images are skipped, their names have none of the endings: %s", len(skipped), shown)
        repeated = Counter(entry.stem for entry in entries.values())
        for entry in entries.values():
            parts = entry.folder.relative_to(root).parts if repeated[entry.stem] > 1 else ()
            entry.name = "-".join((*parts, entry.stem))
        return list(entries.values())


def _ends(stem: str, ending: str) -> bool:
    return stem.lower().endswith(ending.lower()) and len(stem) > len(ending)


def _images_below(root: Path) -> list[Path]:
    found = [path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    visible = [path for path in found if not _is_hidden(path.relative_to(root))]
    return natsorted(visible, key=lambda path: str(path.relative_to(root)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
