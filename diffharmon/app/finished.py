"""A finished result in its folder: what is shown of it, and the files that are made of it for download."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diffharmon import images
from diffharmon.api.inputs import read_composite
from diffharmon.app.visits import RECORD
from diffharmon.app.work import BEFORE
from diffharmon.errors import InputError
from diffharmon.files import write_text
from diffharmon.images.layers import write_layers
from diffharmon.images.lut import fit
from diffharmon.results.versions import versions
from diffharmon.types import Composite

UPLOADS = "uploads"


@dataclass(frozen=True)
class Finished:
    """One result and its variants.

    Attributes:
        folder: Where it is.
        max_megapixels: The largest number of pixels of a file in millions.
    """

    folder: Path
    max_megapixels: float

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """What is known about it."""
        return json.loads((self.folder / RECORD).read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        """Stem of the photo's name."""
        return Path(self.record["composite"]).stem

    @property
    def number(self) -> int:
        """Number of the result among those of its visitor."""
        return int(self.folder.name)

    @property
    def before(self) -> Path:
        """Preview of the composite."""
        return self.folder / BEFORE

    def variant(self, number: int) -> Mapping[str, Any]:
        """Return the entry of one variant.

        Raises:
            InputError: There is none of that number.
        """
        if not 0 <= number < len(self.record["variants"]):
            raise InputError(f"this result has {len(self.record['variants'])} variants, none of number {number + 1}")
        return self.record["variants"][number]

    def after(self, number: int) -> Path:
        """Preview of one variant."""
        return (self.folder / self.variant(number)["file"]).with_suffix(".jpg")

    def composite(self) -> Composite:
        """Read photo and mask again."""
        photo, mask = (self.folder / UPLOADS / self.record[kind] for kind in ("composite", "mask"))
        return read_composite(photo, mask, self.max_megapixels, bool(self.record["settings"].get("colour")))[1]

    def result(self, number: int, composite: Composite) -> images.Picture:
        """Read one variant's file."""
        path = self.folder / self.variant(number)["file"]
        return images.read_image(path, float("inf"), profiles=composite.encoded is not None)

    def download(self, number: int, kind: str, config: DictConfig) -> tuple[Path, str]:
        """Make a file of one variant where it is not there yet; return it and the name it is saved under.

        Args:
            number: The variant.
            kind: ``image``, ``lut``, ``layers``, ``mask`` or ``config``.
            config: What the harmonizer was configured with.

        Raises:
            InputError: There is no such file, or making it needs an extra that is not installed.
        """
        entry = self.variant(number)
        kinds: dict[str, tuple[Path, str, Callable[[Path], object] | None]] = {
            "image": (self.folder / entry["file"], f"_harmonized{Path(entry['file']).suffix}", None),
            "lut": (self.folder / f"variant_{number:02d}.cube", ".cube", lambda path: self.write_lut(number, path)),
            "layers": (self.folder / f"variant_{number:02d}.psd", ".psd", lambda path: self.write_psd(number, path)),
            "mask": (self.folder / UPLOADS / self.record["mask"], f"_mask{Path(self.record['mask']).suffix}", None),
            "config": (self.folder / "config.yaml", ".yaml", lambda path: self.write_config(config, path)),
        }
        if kind not in kinds:
            raise InputError(f"expected one of {', '.join(kinds)}, got {kind!r}")
        path, ending, make = kinds[kind]
        if make is not None and not path.is_file():
            make(path)
        place = "" if number == self.record["best"] or kind in ("mask", "config") else f"_{number + 1}"
        return path, f"{self.name}{place}{ending}"

    def write_lut(self, number: int, path: Path) -> None:
        """Write the change of colour as a lookup table, with its error beside it."""
        composite = self.composite()
        table = fit(composite.image, self.result(number, composite).image, composite.mask)
        write_text(path.with_suffix(".error"), f"{table.error * 255:.1f}")
        table.save(path, title=self.name)

    def lut_error(self, number: int) -> str:
        """Root mean square difference of the lookup table from the result over the foreground, in levels of 255."""
        path = self.folder / f"variant_{number:02d}.cube"
        if not path.is_file():
            self.write_lut(number, path)
        return path.with_suffix(".error").read_text(encoding="utf-8")

    def write_psd(self, number: int, path: Path) -> None:
        """Write composite, result and mask as layers."""
        composite = self.composite()
        picture = self.result(number, composite)
        write_layers(path, composite, picture.image if picture.encoded is None else picture.encoded)

    def write_config(self, config: DictConfig, path: Path) -> None:
        """Write the command that repeats the result, versions, and what the command's method is made of."""
        whole: Any = OmegaConf.to_container(config, resolve=True)
        used = {key: whole[key] for key in ("method", "trainer")}  # the method holds all other parts
        lines = [
            "# The same results, in a folder with the photo and the downloaded mask:",
            f"# {self.record['command']}",
            *(f"# {package} {version}" for package, version in versions().items()),
        ]
        write_text(path, "\n".join(lines) + f"\n{OmegaConf.to_yaml(OmegaConf.create(used))}")
