"""Decoding of image files of every kind that photos and masks come in; used by ``diffharmon.images`` only."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from diffharmon.errors import InputError

SMALLEST_SIDE = 8

_ORIENTATION_TAG = 0x0112
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
# What PIL and its plugins raise on damaged files, besides OSError.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)


@dataclass(frozen=True)
class Pixels:
    """Decoded samples before any scaling: ``h w c`` with c = 1 (grey), 2 (grey, alpha), 3 or 4, and their peak."""

    values: np.ndarray
    peak: float
    profile: bytes | None = None


def decode(path: Path) -> Pixels:
    """Read a file's upright samples; raises ``InputError`` that says in one line why it cannot."""
    path = path.expanduser()
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected an image file")
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected an image file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            pixels = _load(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} is too large: {error}") from error
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path} cannot be read as an image, it may be damaged: {error}") from error
    height, width = pixels.values.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(f"{path} is {width} x {height} pixels, expected at least {SMALLEST_SIDE} on each side")
    return pixels


def _load(path: Path) -> Pixels:
    with Image.open(path) as picture:
        deep = picture.mode in ("RGB", "RGBA", "LA", "RGBX") and any(
            ";16" in str(tile[3]) for tile in getattr(picture, "tile", ())
        )
        is_tiff = picture.format == "TIFF"
        picture.load()
        profile = picture.info.get("icc_profile")
        # After load(): PIL turns TIFF files upright by itself and then drops the tag.
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
        if deep:
            values, peak = _read_deep(path), 65535.0
            upright = is_tiff  # cv2 turns TIFF upright in every mode
        else:
            values, peak = _samples(picture, path)
            upright = False
        cmyk = picture.mode == "CMYK"
    if not upright:
        values = _UPRIGHT.get(orientation, lambda pixels: pixels)(values)
    if profile is not None and (cmyk or profile[16:20] != b"RGB "):
        profile = None
    return Pixels(values, peak, profile)


def _read_deep(path: Path) -> np.ndarray:
    """Read 16-bit colour, which PIL would cut to 8 bits."""
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3 or values.dtype != np.uint16:
        raise InputError(f"{path} cannot be read as a 16-bit colour image, it may be damaged")
    order = [2, 1, 0, 3][: values.shape[2]]
    return values[..., order]


def _samples(picture: Image.Image, path: Path) -> tuple[np.ndarray, float]:
    """Bring any PIL mode to ``h w c`` samples and their peak."""
    if picture.mode.startswith("I;16"):
        return np.asarray(picture)[..., None].astype(np.uint16), 65535.0
    if picture.mode in ("I", "F"):
        return _wide(np.asarray(picture), path)
    if picture.mode == "CMYK":
        picture = _from_cmyk(picture)
    elif "transparency" in picture.info or picture.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "L"):
        picture = picture.convert("L")
    else:
        picture = picture.convert("RGB")
    array = np.asarray(picture)
    return array.reshape(*array.shape[:2], -1), 255.0


def _wide(values: np.ndarray, path: Path) -> tuple[np.ndarray, float]:
    """Grey files of 32 bits: floats in [0, 1], or integers of at most 16 bits."""
    peak = 1.0 if values.dtype.kind == "f" else 65535.0
    if not (values.min() >= 0 and values.max() <= peak):  # also true for NaN
        raise InputError(
            f"{path} holds grey values from {values.min()} to {values.max()}, expected values from 0 to {peak:g}"
        )
    return values[..., None], peak


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
