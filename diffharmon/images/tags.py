"""What a file states about its pixels beside them: its colour space where no ICC profile does, EXIF and XMP."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import imagecodecs
from PIL import Image

from diffharmon.errors import InputError
from diffharmon.images.colour import dateless, kind, made_profile

T = TypeVar("T")

ORIENTATION = 0x0112
_INTEROPERABILITY = 0xA005
_D65 = (0.3127, 0.3290)
_BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
# ITU-T H.273: code points of color primaries and of transfer characteristics that are photos' (PNG cICP, HEIF nclx).
_PRIMARIES = {
    1: _BT709,
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_TRANSFERS: dict[int, str | float] = {
    1: "bt709",
    4: 2.2,
    5: 2.8,
    6: "bt709",
    8: 1.0,
    13: "srgb",
    14: "bt709",
    15: "bt709",
}
_HDR = {16: "PQ", 18: "HLG"}


def profile_of(picture: Image.Image, path: Path | None = None) -> bytes | None:
    """Return the ICC profile of a photo's colour space; None for sRGB, or where nothing is stated.

    In the order of the PNG specification (third edition, 4.3): cICP, an ICC profile, sRGB, gAMA with cHRM. A JPEG
    without profile may state Adobe RGB by EXIF's interoperability index R03 (DCF 2.0).

    Args:
        picture: The photo as Pillow opened it.
        path: Its file; without it, PNG's cICP is not seen.

    Raises:
        InputError: The photo is high dynamic range (PQ or HLG).
    """
    info = picture.info
    stated = _cicp(path) if picture.format == "PNG" and path is not None else None
    if picture.format == "HEIF" and "icc_profile" not in info and info.get("nclx_profile"):
        nclx = info["nclx_profile"]
        stated = (int(nclx["color_primaries"]), int(nclx["transfer_characteristics"]))
    if stated is not None:
        return _of_code_points(*stated, path or "the image")
    embedded = info.get("icc_profile")
    if embedded:
        return embedded if kind(embedded) else None
    if picture.format == "PNG":
        return _of_gamma(info)
    if _index(picture) == "R03":
        return dateless(imagecodecs.cms_profile("adobergb"))
    return None


def linear_profile(chromaticities: tuple[float, ...] | None) -> bytes:
    """Return the profile of linear light; BT.709's primaries and D65 unless a file states others (red to white)."""
    points = chromaticities or (*_BT709, *_D65)
    return made_profile(points[6:], points[:6], 1.0)


def metadata_of(picture: Image.Image) -> dict[str, bytes]:
    """Return EXIF (with the orientation upright, as the pixels are) and XMP, where a file has them."""
    exif = undamaged(lambda: _upright_exif(picture), b"")
    found = {"exif": exif} if exif else {}
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    if xmp:
        found["xmp"] = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    return found


def undamaged(read: Callable[[], T], default: T) -> T:
    """Return what is read of a file's EXIF data; the default where they are damaged, since the pixels need none."""
    try:
        return read()
    except Exception:  # Pillow's parser raises errors of many classes
        return default


def _upright_exif(picture: Image.Image) -> bytes:
    exif = picture.getexif()
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    return exif.tobytes() if len(exif) else b""


def _of_code_points(primaries: int, transfer: int, path: Path | str) -> bytes | None:
    if transfer in _HDR:
        raise InputError(
            f"{path} is a high dynamic range photo ({_HDR[transfer]}), expected standard range, or linear OpenEXR"
        )
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS or (primaries, transfer) == (1, 13):
        return None  # unspecified, or of analogue television
    return made_profile(_D65, _PRIMARIES[primaries], _TRANSFERS[transfer])


def _of_gamma(info: dict[Any, Any]) -> bytes | None:
    if "srgb" in info or not info.get("gamma"):
        return None
    exponent = 1 / float(info["gamma"])
    points = tuple(map(float, info.get("chromaticity") or (*_D65, *_BT709)))
    # 1/2.2 in a file means sRGB's curve, since gAMA cannot express it.
    return made_profile(points[:2], points[2:], "srgb" if abs(exponent - 2.2) < 0.05 else exponent)


def _cicp(path: Path) -> tuple[int, int] | None:
    """Read color primaries and transfer characteristics of a PNG file, which stand before its pixels."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"cICP" and length == 4:
                points = file.read(4)
                return points[0], points[1]
            if name == b"IDAT":
                return None
            file.seek(length + 4, 1)
    return None


def _index(picture: Image.Image) -> str:
    return undamaged(lambda: str(picture.getexif().get_ifd(_INTEROPERABILITY).get(1, "")).strip("\0 "), "")
