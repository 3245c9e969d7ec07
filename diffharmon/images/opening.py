"""Which image files are opened: regular ones, of formats from a fixed list, up to a size; used by ``decoding`` only."""

import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, PngImagePlugin

from diffharmon.errors import InputError

MAX_MEGAPIXELS = 200.0
MAX_BYTES = 4 * 2**30
SMALLEST_SIDE = 8
# A prompt or a workflow of megabytes beside the pixels is no damage: Pillow allows 1 MiB a text.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28

# Pillow's other formats hand a file to another program (EPS), or are no photos.
_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")
_RAW = (".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# First bytes of files that are often taken for photos, and what they are.
_FOREIGN = (
    (b"%!PS", "an EPS or PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file"),
    (b"%PDF", "a PDF file"),
    (b"8BPS", "a Photoshop file"),
    (b"#?RADIANCE", "a Radiance HDR file"),
    (b"gimp xcf", "a GIMP file"),
    (b"DDS ", "a DirectDraw texture"),
    (b"\0\0\1\0", "a Windows icon"),
    (b"icns", "a macOS icon"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML or SVG file"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)
EXPECTED = "PNG, JPEG, TIFF, WebP, AVIF, HEIC, JPEG XL, OpenEXR, BMP, GIF, PPM or JPEG 2000"
_LOCK = threading.Lock()


def require_regular(path: Path, expected: str, max_bytes: int = MAX_BYTES, key: str = "") -> None:
    """Refuse what is no regular file of plausible size, such as a folder, a FIFO or ``/dev/zero``, without reading it.

    Args:
        path: The file.
        expected: What should be there, for the message.
        max_bytes: The largest size.
        key: The setting that gave the path, for the message.

    Raises:
        InputError: Naming the path and what it is.
    """
    named = f"{key} {path}".strip()
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"{named} does not exist, expected {expected}") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(f"{named} cannot be read ({_reason(error)}), expected {expected}") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{named} is a folder, expected {expected}")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{named} is a device, pipe or socket, expected {expected}")
    if status.st_size > max_bytes:
        raise InputError(f"{named} holds {status.st_size:,} bytes, expected {expected} of at most {max_bytes:,} bytes")


@contextmanager
def open_image(path: Path, max_megapixels: float) -> Iterator[Image.Image]:
    """Open an image file; its pixels are not decoded yet.

    Args:
        path: A file that ``require_regular`` accepted.
        max_megapixels: The largest number of pixels in millions.

    Raises:
        InputError: For a format that is not read, or too many pixels.
        UnidentifiedImageError: For a damaged file.
    """
    formats = _formats(path)
    with _without_pillows_limit():
        picture = Image.open(path, formats=formats)
    with picture:
        require_size(path, picture.width, picture.height, max_megapixels)
        yield picture


def require_size(path: Path, width: int, height: int, max_megapixels: float) -> None:
    """Refuse an image with a side under 8 pixels, or with more pixels than are allowed."""
    if min(width, height) < SMALLEST_SIDE:
        raise InputError(f"{path} is {width} x {height} pixels, expected at least {SMALLEST_SIDE} on each side")
    if width * height > max_megapixels * 1e6:
        raise InputError(
            f"{path} is too large: {width} x {height} pixels are {width * height / 1e6:,.1f} megapixels, "
            f"dataset.max_megapixels allows {max_megapixels:g}"
        )


def _formats(path: Path) -> tuple[str, ...]:
    """Formats to try; a file that needs an extra, or is of a format that is not read, is refused by its name."""
    if path.suffix.lower() in _RAW:  # Pillow would read the small preview inside it.
        raise InputError(f"{path} is a raw camera file, expected a developed photo: {EXPECTED}")
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise InputError(f"{path} cannot be read as an image: it is empty")
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head:
        return (_with_heif(path),)
    if head[4:8] == b"ftyp" and b"avi" not in head[8:]:
        raise InputError(f"{path} cannot be read as an image: it is a video, expected {EXPECTED}")
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return (_with_jpeg_xl(path),)
    for start, what in _FOREIGN:
        if head.lstrip().lower().startswith(start.lower()):
            raise InputError(f"{path} cannot be read as an image: it is {what}, expected {EXPECTED}")
    Image.init()  # registers all of Pillow's formats
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _with_heif(path: Path) -> str:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise InputError(
            f"{path} is a HEIC file, which needs the extra 'heif': pip install 'diffharmon[heif]'"
        ) from None
    register_heif_opener()
    return "HEIF"


def _with_jpeg_xl(path: Path) -> str:
    try:
        import pillow_jxl  # noqa: F401  (registers the format)
    except ImportError:
        raise InputError(
            f"{path} is a JPEG XL file, which needs the extra 'jxl': pip install 'diffharmon[jxl]'"
        ) from None
    return "JXL"


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Lift Pillow's limit of 179 megapixels while a header is read: ours is checked right after it."""
    with _LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
