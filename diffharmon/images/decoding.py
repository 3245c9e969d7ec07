"""Decoding of image files of every kind that photos and masks come in; used by ``diffharmon.images`` only."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from diffharmon.errors import InputError
from diffharmon.images.colour import kind
from diffharmon.images.deep import bgr_to_rgb, deep_samples
from diffharmon.images.exr import exr_size, is_exr, read_exr
from diffharmon.images.opening import EXPECTED, MAX_MEGAPIXELS, open_image, require_regular, require_size
from diffharmon.images.tags import ORIENTATION, metadata_of, profile_of, undamaged
from diffharmon.types.levels import bands

# EXIF 2.32, table 6: what brings each orientation upright, on arrays whose first two axes are rows and columns.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
_SUBFILE, _OLD_SUBFILE = 254, 255  # TIFF 6.0, section 8: 0 and 1 for a whole picture
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")


@dataclass(frozen=True)
class Pixels:
    """Decoded samples before any scaling.

    Attributes:
        values: ``h w c`` with c = 1 (grey), 2 (grey, alpha), 3 or 4, upright.
        peak: The value of white.
        depth: Bits a sample of the file, 8 or 16; 32 is floating point.
        grey: Whether the file has no colour.
        profile: ICC profile of the values' colour space; None for sRGB, or where the file states none.
        labels: Indices ``h w`` into the palette, for a file that has one.
        linear: Whether the values are scene-linear light, which may exceed the peak.
        metadata: The file's ``exif``, ``xmp`` and (OpenEXR) ``chromaticities``, where it has them.
    """

    values: np.ndarray
    peak: float
    depth: int = 8
    grey: bool = False
    profile: bytes | None = None
    labels: np.ndarray | None = None
    linear: bool = False
    metadata: Mapping[str, bytes] = field(default_factory=dict)


def decode(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Pixels:
    """Read a file's upright samples; whatever is wrong with it becomes an ``InputError`` of one line that names it."""
    with _damage_named(path):
        return _load(path.expanduser(), max_megapixels)


def held(picture: Image.Image, what: str) -> Pixels:
    """Return the samples of an image that Pillow holds, in the colour space that it states.

    Args:
        picture: The image.
        what: What it is, for messages.

    Raises:
        InputError: It states that it is not upright, so that a mask may fit it turned or not; or it is of a mode or
            range that is not read.
    """
    turned = undamaged(lambda: picture.getexif().get(ORIENTATION, 1), 1)
    if turned in _UPRIGHT:
        raise InputError(f"{what} is not upright by its EXIF data; expected it after PIL.ImageOps.exif_transpose")
    labels = np.asarray(picture) if picture.mode == "P" else None
    try:
        values, peak = _samples(picture, what)
    except (ValueError, OSError) as error:
        raise InputError(f"{what} of Pillow's mode {picture.mode} cannot be read: {error}") from None
    depth = {255.0: 8, 65535.0: 16}.get(peak, 32)
    grey = picture.mode in _GREY_MODES or values.shape[2] < 3
    stated = None if picture.mode in ("CMYK", "YCbCr", "HSV") else profile_of(picture)
    return Pixels(values, peak, depth, grey, _fitting(stated, grey), labels)


def image_size(path: Path) -> tuple[int, int]:
    """Read the width and height in a file's header, as stored, whatever they are; raises as ``decode``."""
    with _damage_named(path):
        if is_exr(path.expanduser()):
            return exr_size(path.expanduser())
        try:
            with open_image(path.expanduser(), float("inf")) as picture:
                return picture.size
        except UnidentifiedImageError:
            _require_tiff(path)
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]  # of a kind that tifffile types without its size
            return page.imagewidth, page.imagelength


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    require_regular(path.expanduser(), "an image file")
    try:
        yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} does not fit into memory") from error
    except Exception as error:  # Decoders raise anything on damaged files, from SyntaxError to ZeroDivisionError.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as an image, it may be damaged: {reason}") from error


def _require_tiff(path: Path) -> None:
    """Refuse what Pillow cannot identify, but for TIFF files, of which OpenCV reads more kinds."""
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*"):
            raise InputError(f"{path} cannot be read as an image: it is damaged, or of another format than {EXPECTED}")


def _load(path: Path, max_megapixels: float) -> Pixels:
    if is_exr(path):
        values, depth, profile, metadata = read_exr(path, max_megapixels)
        return Pixels(values, 1.0, depth, values.shape[2] < 3, profile, linear=True, metadata=metadata)
    try:
        with open_image(path, max_megapixels) as picture:
            return _from_pillow(picture, path)
    except UnidentifiedImageError:
        _require_tiff(path)
    return _from_tiff(path, max_megapixels)


def _from_pillow(picture: Image.Image, path: Path) -> Pixels:
    _require_single(picture, path)
    mode = picture.mode
    is_tiff = picture.format == "TIFF"
    deep = deep_samples(picture, path)
    picture.load()
    # After load(): Pillow turns TIFF files upright by itself and then drops the tag.
    orientation = undamaged(lambda: picture.getexif().get(ORIENTATION, 1), 1)
    values, peak = deep or _samples(picture, path)
    labels = np.asarray(picture) if mode == "P" else None
    if not (deep and is_tiff):  # OpenCV turns TIFF upright in every mode.
        turn = _UPRIGHT.get(orientation, lambda pixels: pixels)
        values, labels = turn(values), None if labels is None else turn(labels)
    depth = 16 if deep else {255.0: 8, 65535.0: 16}.get(peak, 32)
    grey = mode in _GREY_MODES or mode.startswith("I;16") or values.shape[2] < 3
    profile = None if mode == "CMYK" else _fitting(profile_of(picture, path), grey)
    return Pixels(values, peak, depth, grey, profile, labels, metadata=metadata_of(picture))


def _require_single(picture: Image.Image, path: Path) -> None:
    """Refuse a file of several pictures, such as an animation; small copies and masks beside a photo are none."""
    count = frames = getattr(picture, "n_frames", 1)
    if picture.format not in ("GIF", "PNG", "WEBP", "AVIF", "TIFF") or frames < 2:
        return
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        count = 1
        for number in range(1, frames):
            picture.seek(number)
            count += picture.tag_v2.get(_SUBFILE, 0) == 0 and picture.tag_v2.get(_OLD_SUBFILE, 1) == 1
        picture.seek(0)
    if count > 1:
        raise InputError(f"{path} holds {count} pictures, expected one; save that one as a file of its own")


def _fitting(profile: bytes | None, grey: bool) -> bytes | None:
    """Leave out a grey profile of a file with colours."""
    return None if kind(profile) == "gray" and not grey else profile


def _from_tiff(path: Path, max_megapixels: float) -> Pixels:
    """Read a TIFF that Pillow has no mode for: colour in floating point."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        require_size(path, page.imagewidth, page.imagelength, max_megapixels)
        found = page.iccprofile
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype not in (np.float32, np.float64, np.uint16, np.uint8):
        raise InputError(f"{path} is a TIFF file of a kind that is not read, expected 8, 16 or 32-bit float samples")
    values = values[..., None] if values.ndim == 2 else bgr_to_rgb(values)
    peak = {"uint8": 255.0, "uint16": 65535.0}.get(values.dtype.name, 1.0)
    if values.dtype.kind == "f":
        values = _in_range(values.astype(np.float32), 1.0, path)
    grey = values.shape[2] == 1
    profile = _fitting(bytes(found), grey) if found is not None and kind(bytes(found)) else None
    return Pixels(values, peak, 8 * min(values.dtype.itemsize, 4), grey, profile)


def _samples(picture: Image.Image, path: Path | str) -> tuple[np.ndarray, float]:
    """Bring any Pillow mode to ``h w c`` samples and their peak."""
    if picture.mode.startswith("I;16"):
        return np.asarray(picture)[..., None].astype(np.uint16), 65535.0
    if picture.mode in ("I", "F"):  # grey of 32 bits: floats in [0, 1], or integers of at most 16 bits
        values = np.asarray(picture)
        peak = 1.0 if values.dtype.kind == "f" else 65535.0
        return _in_range(values[..., None], peak, path), peak
    if picture.mode == "CMYK":
        picture = _from_cmyk(picture)
    else:
        grey = "L" if picture.mode in ("1", "L") else "RGB"
        mode = "RGBA" if picture.has_transparency_data else grey
        picture = picture if picture.mode == mode else picture.convert(mode)
    return _array(picture), 255.0


def _array(picture: Image.Image) -> np.ndarray:
    """Copy the pixels to an array by bands: all at once, Pillow makes them three times."""
    array = np.empty((picture.height, picture.width, len(picture.getbands())), np.uint8)
    for rows in bands(picture.height, picture.width):
        part = picture.crop((0, rows.start, picture.width, rows.stop))
        array[rows] = np.asarray(part).reshape(array[rows].shape)
    return array


def _in_range(values: np.ndarray, peak: float, path: Path | str) -> np.ndarray:
    if not (values.min() >= 0 and values.max() <= peak):  # also true for NaN
        raise InputError(
            f"{path} holds values from {values.min()} to {values.max()}, expected values from 0 to {peak:g}"
        )
    return values


def _from_cmyk(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return picture.convert("RGB")
    return converted if converted is not None else picture.convert("RGB")
