"""From files to a composite: what all datasets of files share."""

from pathlib import Path

from diffharmon.errors import InputError
from diffharmon.images import SUFFIXES, Filter, check_mask, read_image, read_mask, resize
from diffharmon.types import Composite


def read_composite(
    name: str,
    source: str,
    image: Path,
    mask: Path,
    real: Path | None = None,
    size: int | None = None,
    filter: Filter = "bicubic",
) -> Composite:
    """Read one composite.

    Args:
        name: Unique name within the dataset.
        source: The dataset or subset.
        image: The composite photo.
        mask: Its foreground mask, of the same size.
        real: The photo as it really was, of the same size.
        size: Side of a square to which all three are resized on 8 bits; None keeps the full size.
        filter: Filter of that resize.

    Raises:
        InputError: Naming the file that cannot be read or does not fit.
    """
    picture = read_image(image)
    foreground = read_mask(mask)
    check_mask(foreground, picture.image, str(mask))
    truth = read_image(real).image if real is not None else None
    if truth is not None and truth.shape != picture.image.shape:
        given, expected = truth.shape[-2:], picture.image.shape[-2:]
        raise InputError(
            f"real photo {real} is {given[1]} x {given[0]} pixels, expected {expected[1]} x {expected[0]} "
            f"(width x height) as {image}"
        )
    if size is None:
        return Composite(name, source, picture.image, foreground, truth, picture.alpha, picture.profile)
    square = (size, size)
    foreground = resize(foreground, square, filter)
    resized = resize(picture.image, square, filter, picture.alpha)
    check_mask(foreground, resized, f"{mask} at {size} x {size}")
    return Composite(
        name,
        source,
        resized,
        foreground,
        None if truth is None else resize(truth, square, filter),
        None if picture.alpha is None else resize(picture.alpha, square, filter),
        picture.profile,
    )


def existing_folder(path: str | Path, what: str) -> Path:
    """Return a folder's path; raises ``InputError`` when there is none."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{what} {folder} is not a folder, expected a folder")
    return folder


def image_files(folder: Path) -> list[Path]:
    """List what is named like an image in a folder, hidden files left out, in order of name."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entry for entry in entries if entry.suffix.lower() in SUFFIXES)
