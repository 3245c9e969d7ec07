"""The held-out photos as folders for `dataset=synthetic` and `dataset=folder`, halves for tuning and for the report."""

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from diffharmon.training.captions import object_word
from diffharmon.training.photos import is_held_out

Part = Literal["tune", "report"]
CLOSE = 38.0  # dB over the whole frame: a photo changed by less counts as left alone


def part_of(stem: str) -> Part:
    """A quarter of the held-out photos, by a hash of the name, is for choosing settings; the rest is for the report."""
    return "tune" if hashlib.sha256(stem.encode()).digest()[0] % 4 == 0 else "report"


def select(root: Path, output: Path, part: Part) -> Path:
    """Copy photos that no embedded model saw, with their masks, into ``output/photos``; gives that folder.

    Args:
        root: The training data, ``<source>/*.jpg`` with ``<source>/masks/<stem>__<k>__<class>.png``.
        output: Where to.
        part: Which of the held-out photos.

    Raises:
        SystemExit: No photo is held out.
    """
    photos, masks = output / "photos", output / "photos" / "masks"
    masks.mkdir(parents=True, exist_ok=True)
    for photo in sorted(root.glob("*/*.jpg")):
        if part_of(photo.stem) != part or not is_held_out(photo.parent.name, photo.stem):
            continue
        found = sorted((photo.parent / "masks").glob(f"{photo.stem}__*.png"))
        for mask in found:
            stem, number, label = mask.stem.split("__", 2)
            shutil.copy(mask, masks / f"{stem}__{number}__{object_word(label) or 'object'}.png")
        if found:
            shutil.copy(photo, photos / photo.name)
    if not any(photos.glob("*.jpg")):
        raise SystemExit(f"no held-out photos with masks in {root}, expected <source>/*.jpg and <source>/masks/*.png")
    return photos


def sources(root: Path, output: Path, part: Part) -> Path:
    """Lay the same photos and masks out by source, as links, in ``output/sources``; gives that folder."""
    folder = output / "sources"
    for photo in sorted(root.glob("*/*.jpg")):
        if part_of(photo.stem) != part or not is_held_out(photo.parent.name, photo.stem):
            continue
        for path in (photo, *sorted((photo.parent / "masks").glob(f"{photo.stem}__*.png"))):
            place = folder / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(path.resolve())
    return folder


def untouched(photos: Path, output: Path, smallest: float = 0.02, largest: float = 0.75) -> Path:
    """Make a folder for `dataset=folder` from photos that nobody changed: images, masks, and the photos as truth.

    Each photo comes once, with its first mask whose share of the frame lies between the bounds.
    """
    folder = output / "untouched"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for photo in sorted(photos.glob("*.jpg")):
        for mask in sorted((photos / "masks").glob(f"{photo.stem}__*.png")):
            with Image.open(mask) as opened:
                share = float(np.asarray(opened.convert("L")).mean()) / 255
            if smallest <= share <= largest:
                shutil.copy(photo, folder / "images" / photo.name)
                shutil.copy(mask, folder / "masks" / f"{photo.stem}.png")
                break
    return folder
