"""Real photos with object masks, as they lie on disk for training, split by photo."""

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from diffharmon.errors import InputError
from diffharmon.training.captions import NEUTRAL, SCENE_CONDITIONS, object_word, scene_object

MARGIN = 1.125  # photos are kept this much larger than a sample, to leave room for random crops
_CROPS = re.compile(r"_(c\d+|f)$")  # open_wallpapers: crops and the full frame of one photo
_PAIRS = re.compile(r"^dp_(in|tar)")  # deep_photo_style: two photos of one scene


@dataclass(frozen=True)
class PhotoRecord:
    """What is known of a photo: its source folder, stem and class label (empty when there is none)."""

    source: str
    stem: str
    label: str

    @property
    def scene(self) -> str | None:
        """The photo's scene class when that class says something about its light."""
        return self.label.split(" ")[0] if self.label.split(" ")[0] in SCENE_CONDITIONS else None

    @property
    def noun(self) -> str | None:
        """What the photo shows, as one noun."""
        return scene_object(self.scene) if self.scene else object_word(self.label)

    @property
    def condition(self) -> str:
        """The condition word of the untouched photo."""
        return SCENE_CONDITIONS[self.scene] if self.scene else NEUTRAL


@dataclass(frozen=True)
class MaskRecord:
    """An object mask: the index of its photo, the object's noun when known, and its share of the frame."""

    photo: int
    noun: str | None
    area: float


def is_held_out(source: str, stem: str, seed: int = 0, share: float = 0.06) -> bool:
    """Decide from a hash of its name whether a photo is kept for validation; crops of one photo stay together."""
    scene = _CROPS.sub("", stem) if source == "open_wallpapers" else _PAIRS.sub("dp_", stem)
    digest = hashlib.sha256(f"{seed}:{source}/{scene}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


class Photos:
    """The photos of one side of the split, squashed to a square and held in memory as bytes.

    Expects `<root>/<source>/*.jpg`, `<root>/<source>/masks/<stem>__<k>__<class>.png` (white is the object) and
    optionally `<root>/<source>/labels.tsv` with columns stem and class.

    Args:
        root: the folder of sources.
        size: side of the samples in pixels; photos are kept `MARGIN` times larger.
        validation: the held-out side instead of the training side.
        seed: seed of the split.
        share: share of the photos held out.
        limit: keep at most this many photos, 0 for all.

    Raises:
        InputError: when no photo of this side is found.
    """

    def __init__(
        self,
        root: str | Path,
        size: int = 128,
        validation: bool = False,
        seed: int = 0,
        share: float = 0.06,
        limit: int = 0,
    ) -> None:
        self.side = round(size * MARGIN)
        self.records: list[PhotoRecord] = []
        self.masks: list[MaskRecord] = []
        pixels, covers = [], []
        for folder in sorted(path for path in Path(root).iterdir() if path.is_dir()) if Path(root).is_dir() else []:
            labels = _labels(folder)
            by_stem: dict[str, list[Path]] = {}
            for path in sorted((folder / "masks").glob("*.png")):
                by_stem.setdefault(path.stem.split("__")[0], []).append(path)
            for path in sorted(folder.glob("*.jpg")):
                if is_held_out(folder.name, path.stem, seed, share) != validation:
                    continue
                if limit and len(self.records) >= limit:
                    break
                pixels.append(self._read(path, "RGB"))
                self.records.append(PhotoRecord(folder.name, path.stem, labels.get(path.stem, "")))
                for mask in by_stem.get(path.stem, []):
                    cover = self._read(mask, "L")
                    noun = object_word(mask.stem.split("__", 2)[-1])
                    self.masks.append(MaskRecord(len(self.records) - 1, noun, float(cover.mean() / 255)))
                    covers.append(cover)
        if not pixels:
            side = "validation" if validation else "training"
            raise InputError(f"no {side} photos in {root}; expected <source>/*.jpg below it")
        self._pixels = np.stack(pixels)
        self._covers = np.stack(covers) if covers else np.zeros((0, self.side, self.side), np.uint8)

    def _read(self, path: Path, mode: str) -> np.ndarray:
        with Image.open(path) as opened:
            image = opened.convert(mode)
        if mode == "L":
            kind = Image.Resampling.BOX
        else:
            kind = Image.Resampling.LANCZOS if min(image.size) > self.side else Image.Resampling.BICUBIC
        return np.asarray(image.resize((self.side, self.side), kind))

    def __len__(self) -> int:
        return len(self.records)

    def image(self, index: int) -> Float[Tensor, "3 h w"]:
        """Return a photo, RGB in [0, 1]."""
        return torch.from_numpy(self._pixels[index]).permute(2, 0, 1).float() / 255

    def mask(self, index: int) -> Float[Tensor, "1 h w"]:
        """Return an object mask in [0, 1], soft at the border."""
        return torch.from_numpy(self._covers[index])[None].float() / 255

    def usable_masks(self, smallest: float = 0.02, largest: float = 0.75) -> list[int]:
        """List the masks whose share of the frame lies between two bounds."""
        return [index for index, mask in enumerate(self.masks) if smallest < mask.area < largest]


def _labels(folder: Path) -> dict[str, str]:
    path = folder / "labels.tsv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as opened:
        rows = csv.DictReader(opened, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["stem"]: row["class"] or "" for row in rows}
