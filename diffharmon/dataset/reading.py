"""From files to a composite: what all datasets of files share."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from natsort import natsorted

from diffharmon.errors import InputError
from diffharmon.images import (
    MASK_FLOOR,
    MAX_MEGAPIXELS,
    SUFFIXES,
    Filter,
    MaskRule,
    check_mask,
    load_mask,
    read_image,
    require_regular,
    resize,
)
from diffharmon.types import Composite

log = logging.getLogger(__name__)
_MAX_LIST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FileSettings:
    """How a dataset reads its files.

    Args:
        mask_channel: Which channel of a mask file is the mask; None follows the rule in ``images.masks``.
        label: The label of the foreground in mask files that are label maps.
        mask_floor: Levels of a mask up to this one, of 255, are background.
        max_megapixels: The largest number of pixels of a file, in millions.
        colour: Treat grey photos as ones with colours, which their results may then have.
        profiles: Convert from the files' colour spaces; benchmarks are measured on values as they are stored.

    Raises:
        InputError: For an unknown channel, a negative label, both, or a limit that is not above 0.
    """

    mask_channel: str | None = None
    label: int | None = None
    mask_floor: int = MASK_FLOOR
    max_megapixels: int | float = MAX_MEGAPIXELS
    colour: bool = False
    profiles: bool = True

    def __post_init__(self) -> None:
        MaskRule(self.mask_channel, self.label, self.mask_floor)
        if not self.max_megapixels > 0:
            raise InputError(f"dataset.max_megapixels must be above 0, got {self.max_megapixels}")

    @property
    def mask_rule(self) -> MaskRule:
        """The rule that masks are read by."""
        return MaskRule(self.mask_channel, self.label, self.mask_floor)


def read_composite(
    name: str,
    source: str,
    image: Path,
    mask: Path,
    real: Path | None = None,
    size: int | None = None,
    filter: Filter = "bicubic",
    settings: FileSettings | None = None,
) -> Composite:
    """Read one composite.

    Args:
        name: Unique name within the dataset.
        source: The dataset or subset.
        image: The composite photo.
        mask: Its foreground mask, of the same size.
        real: The photo as it really was, of the same size.
        size: Side of a square to which all three are resized on 8 bits; None keeps the full size and depth.
        filter: Filter of that resize.
        settings: How the files are read; None is the default.

    Raises:
        InputError: Naming the file that cannot be read or does not fit.
    """
    settings = settings or FileSettings()
    limit = float(settings.max_megapixels)
    picture = read_image(image, limit, settings.colour, settings.profiles)
    foreground = load_mask(mask, settings.mask_rule, limit)
    check_mask(foreground.values, picture.image, str(mask))
    truth = read_image(real, limit, profiles=settings.profiles).image if real is not None else None
    if truth is not None and truth.shape != picture.image.shape:
        raise InputError(other_size(real, truth.shape[-2:], image, picture.image.shape[-2:]))
    composite = picture.composite(name, source, foreground.values, truth, foreground.source)
    if size is None:
        return composite
    resized = _squared(composite, size, filter)
    check_mask(resized.mask, resized.image, f"{mask} at {size} x {size}")
    return resized


def other_size(real: Path | None, given: Sequence[int], image: Path, expected: Sequence[int]) -> str:
    """Return the message for a real photo of another size (height, width) than its composite."""
    return (
        f"real photo {real} is {given[1]} x {given[0]} pixels, expected {expected[1]} x {expected[0]} "
        f"(width x height) as {image}"
    )


def _squared(composite: Composite, side: int, filter: Filter) -> Composite:
    """Resize a composite to a square, which leaves 8 bits."""
    square = (side, side)
    return replace(
        composite.in_srgb(),
        image=resize(composite.image, square, filter, composite.alpha),
        mask=resize(composite.mask, square, filter),
        real=None if composite.real is None else resize(composite.real, square, filter),
        alpha=None if composite.alpha is None else resize(composite.alpha, square, filter),
        depth=8,
    )


def read_list(path: Path) -> list[str]:
    """Read the lines of a list file, stripped, with ``/`` between folders; empty ones are left out.

    Raises:
        InputError: For a file that is missing, no regular file, or no text in UTF-8.
    """
    require_regular(path, "a list of image names", _MAX_LIST_BYTES)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read as a list of image names in UTF-8: {error}") from None
    return [line.strip() for line in text.replace("\\", "/").splitlines() if line.strip()]


def existing_folder(path: str | Path, what: str) -> Path:
    """Return a folder's path; raises ``InputError`` when there is none."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{what} {folder} is not a folder, expected a folder")
    return folder


def image_files(folder: Path) -> list[Path]:
    """List what is named like an image in a folder, hidden files left out, in natural order (``2.png``, ``10.png``)."""
    return natsorted((path for path in _visible(folder) if _is_image(path)), key=lambda path: path.name)


def log_skipped(folders: Sequence[Path]) -> None:
    """Log once how many files of some folders are skipped because they are hidden or not named like images."""
    hidden = [path.name for folder in dict.fromkeys(folders) for path in folder.iterdir() if _is_hidden_image(path)]
    if hidden:
        log.warning("%d hidden files are skipped: %s", len(hidden), _some(natsorted(hidden)))
    skipped = [path for folder in dict.fromkeys(folders) for path in _visible(folder) if not _is_image(path)]
    files = natsorted(path.name for path in skipped if path.is_file())
    if files:
        endings = Counter(Path(name).suffix.lower() or "no ending" for name in files)
        counted = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
        log.warning("%d files are skipped, they are not named like images (%s): %s", len(files), counted, _some(files))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _is_hidden_image(path: Path) -> bool:
    """Whether a hidden file is named like an image; those that macOS writes beside every file, ``._NAME``, are not."""
    return path.name.startswith(".") and not path.name.startswith("._") and _is_image(path)
