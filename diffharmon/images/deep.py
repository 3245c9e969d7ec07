"""Samples of more than 8 bits that Pillow cuts to 8: of PNG, TIFF, HEIC, AVIF and JPEG XL."""

from pathlib import Path

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from diffharmon.errors import InputError


def deep_samples(picture: Image.Image, path: Path) -> tuple[np.ndarray, float] | None:
    """Read ``h w c`` samples of 16 bits and their peak; None for a file whose samples Pillow reads whole.

    Args:
        picture: The file as Pillow opened it, not decoded yet.
        path: The file.
    """
    raw = [str(tile[3]) for tile in getattr(picture, "tile", ())]
    if picture.mode in ("RGB", "RGBA", "LA", "RGBX") and any(";16" in mode for mode in raw):
        return read_deep(path), 65535.0
    if picture.format == "HEIF" and int(picture.info.get("bit_depth", 8)) > 8:
        return _heif(path, int(picture.info["bit_depth"]))
    data = path.read_bytes() if picture.format in ("AVIF", "JXL") else b""
    if picture.format == "AVIF" and (bits := _avif_bits(data)) > 8:
        return _whole(imagecodecs.avif_decode(data), bits)
    return _whole(imagecodecs.jpegxl_decode(data), 16) if picture.format == "JXL" else None


def read_deep(path: Path) -> np.ndarray:
    """Read 16-bit colour of PNG and TIFF files."""
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3 or values.dtype != np.uint16:
        raise InputError(f"{path} cannot be read as a 16-bit colour image, it may be damaged")
    return bgr_to_rgb(values)


def bgr_to_rgb(values: np.ndarray) -> np.ndarray:
    """Reorder OpenCV's channels."""
    return values[..., [2, 1, 0, 3][: values.shape[2]]]


def _heif(path: Path, bits: int) -> tuple[np.ndarray, float]:
    import pillow_heif  # the file was opened with it

    values = np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False))
    return values.reshape(*values.shape[:2], -1), float(((1 << bits) - 1) << (16 - bits))  # levels are shifted up


def _avif_bits(data: bytes) -> int:
    """Read the bits a sample in the av1C box (AV1-ISOBMFF 2.3.4): high_bitdepth, and twelve_bit beside it."""
    place = data.find(b"av1C")
    flags = data[place + 6] if place >= 0 and len(data) > place + 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _whole(values: np.ndarray, bits: int) -> tuple[np.ndarray, float] | None:
    """Keep what has more than 8 bits."""
    if values.dtype != np.uint16:
        return None
    return values.reshape(*values.shape[:2], -1), float((1 << bits) - 1)
