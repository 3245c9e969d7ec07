"""OpenEXR files: scene-linear light in half or full floats, which may exceed 1."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffharmon.errors import InputError
from diffharmon.images.opening import require_size
from diffharmon.images.tags import linear_profile

if TYPE_CHECKING:
    from types import ModuleType

SUFFIX = ".exr"
_MAGIC = b"v/1\x01"
_CHROMATICITIES = "chromaticities"
_COLOURS, _GREY = ("R", "G", "B"), ("Y",)


def is_exr(path: Path) -> bool:
    """Whether a file begins as an OpenEXR file does."""
    with path.open("rb") as file:
        return file.read(4) == _MAGIC


def exr_size(path: Path) -> tuple[int, int]:
    """Read the width and height in a file's header."""
    with _library(path).File(str(path), header_only=True) as file:
        return _size(file.header())


def read_exr(path: Path, max_megapixels: float) -> tuple[np.ndarray, int, bytes, dict[str, bytes]]:
    """Read the samples ``h w c`` (grey, RGB, either with alpha), their depth (16 or 32) and what describes their space.

    Returns:
        Samples, depth, ICC profile, and the ``chromaticities`` that the file states, for ``write_exr``.

    Raises:
        InputError: The file has several parts, other channels, a cropped window, or samples that are not finite.
    """
    library = _library(path)
    with library.File(str(path), header_only=True) as file:
        header = dict(file.header())  # emptied when the file is closed
    width, height = _size(header)
    require_size(path, width, height, max_megapixels)
    if any(map(np.any, (header["dataWindow"][n] != header["displayWindow"][n] for n in (0, 1)))):
        raise InputError(f"{path} has a data window that is not its display window, expected a whole picture")
    with library.File(str(path), separate_channels=True) as file:
        if len(file.parts) != 1:
            raise InputError(f"{path} is an OpenEXR file of {len(file.parts)} parts, expected one")
        planes = {name: channel.pixels for name, channel in file.channels().items()}
    names = [name for name in (*_COLOURS, "A") if name in planes]
    if names[:3] != list(_COLOURS):
        names = [name for name in (*_GREY, "A") if name in planes]
    if names[:1] not in (["R"], ["Y"]):
        found = ", ".join(sorted(planes))
        raise InputError(f"{path} has the channels {found}, expected R, G, B or Y, with or without A")
    half = all(planes[name].dtype == np.float16 for name in names)
    values = np.stack([planes[name].astype(np.float32) for name in names], axis=-1)
    if not np.isfinite(values).all():
        raise InputError(f"{path} holds samples that are not finite, expected numbers")
    stated = header.get(_CHROMATICITIES)
    points = None if stated is None else np.ravel(stated).astype(np.float32)
    profile = linear_profile(None if points is None else tuple(map(float, points)))
    return values, 16 if half else 32, profile, {} if points is None else {_CHROMATICITIES: points.tobytes()}


def write_exr(path: Path, samples: np.ndarray, metadata: Mapping[str, bytes]) -> None:
    """Write ``h w`` or ``h w c`` samples of 16 or 32-bit floats, and the chromaticities among the metadata."""
    library = _library(path)
    planes = samples[..., None] if samples.ndim == 2 else samples
    names = {1: "Y", 2: "YA", 3: "RGB", 4: "RGBA"}[planes.shape[2]]
    header: dict[str, Any] = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    if _CHROMATICITIES in metadata:
        header[_CHROMATICITIES] = tuple(map(float, np.frombuffer(metadata[_CHROMATICITIES], np.float32)))
    channels = {name: np.ascontiguousarray(planes[..., index]) for index, name in enumerate(names)}
    with library.File(header, channels) as file:
        file.write(str(path))


def _size(header: dict[str, Any]) -> tuple[int, int]:
    first, last = header["dataWindow"]
    return int(last[0] - first[0] + 1), int(last[1] - first[1] + 1)


def _library(path: Path) -> "ModuleType":
    try:
        import OpenEXR
    except ImportError:
        raise InputError(
            f"{path} is an OpenEXR file, which needs the extra 'exr': pip install 'diffharmon[exr]'"
        ) from None
    return OpenEXR
