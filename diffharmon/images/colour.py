"""Colour spaces: a photo's own values to the sRGB that models see, and what became of them back to the photo's space.

Conversion is littlecms in 32-bit floating point, relative colorimetric with black point compensation.
"""

import logging
from functools import lru_cache

import imagecodecs
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

log = logging.getLogger(__name__)

_INTENT = 1  # relative colorimetric
_FLAGS = 0x2000  # black point compensation
_PIXELS = 1 << 20  # converted at a time: littlecms prepares every conversion again, in about 20 ms
_KINDS = {b"RGB ": "rgb", b"GRAY": "gray"}
_SAME = 0.5 / 255  # a space that differs from sRGB by less is taken for sRGB: the models see 8 bits


def kind(profile: bytes | None) -> str | None:
    """Return ``rgb`` or ``gray``; None for a profile of another kind, of no use, or none at all."""
    found = None if profile is None else _KINDS.get(profile[16:20])
    return found if profile is None or found is None or _usable(profile) else None


def to_srgb(values: Float[Tensor, "3 h w"], profile: bytes | None) -> Float[Tensor, "3 h w"] | None:
    """Convert a photo's own values to sRGB in [0, 1]; None where they are sRGB already.

    Args:
        values: As the file holds them, white at 1; three equal channels for grey.
        profile: ICC profile of the file, which ``kind`` accepts.
    """
    if profile is None or is_srgb(profile):
        return None
    return _in_parts(values, profile, srgb()).clamp(0, 1)


def to_own_space(
    result: Float[Tensor, "3 h w"],
    image: Float[Tensor, "3 h w"],
    encoded: Float[Tensor, "3 h w"],
    profile: bytes,
) -> Float[Tensor, "3 h w"]:
    """Carry the change of an sRGB image over to the photo's own values.

    Pixels that did not change keep their values exactly. Elsewhere the difference of the two converted colours is
    added, so that colours outside sRGB's gamut keep what sRGB cannot express. Light above white, which only linear
    files hold, is scaled as white is.

    Args:
        result: The result in sRGB.
        image: The photo in sRGB, as ``to_srgb`` gave it.
        encoded: The photo's own values.
        profile: Its ICC profile.
    """
    changed = (result != image).any(dim=0)
    if not changed.any():
        return encoded
    before, after = (from_srgb(picture[:, changed][:, None], profile)[:, 0] for picture in (image, result))
    own = encoded[:, changed]
    moved = torch.where(own > 1, own * after / before.clamp(min=1e-3), own + (after - before))
    whole = encoded.clone()
    whole[:, changed] = moved.to(whole)
    return whole


def from_srgb(image: Float[Tensor, "3 h w"], profile: bytes | None) -> Float[Tensor, "3 h w"]:
    """Convert sRGB in [0, 1] to the values of a profile; three equal channels for a grey one."""
    return image if profile is None or is_srgb(profile) else _in_parts(image, srgb(), profile)


@lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Whether converting from a profile to sRGB changes no colour by half a level of 8 bits."""
    axis = np.linspace(0, 1, 12, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(1, -1, 3)
    if kind(profile) == "gray":
        grid = np.repeat(axis[None, :, None], 3, axis=2)
    return bool(np.abs(_convert(grid, profile, srgb()) - grid).max() < _SAME)


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """Return the ICC profile of sRGB (IEC 61966-2-1)."""
    return dateless(imagecodecs.cms_profile("srgb"))


@lru_cache(maxsize=32)
def made_profile(white: tuple[float, ...], primaries: tuple[float, ...], transfer: str | float) -> bytes:
    """Make the ICC profile of an RGB space.

    Args:
        white: Chromaticity x, y of white.
        primaries: Chromaticities of red, green and blue, x and y in turn.
        transfer: ``srgb``, ``bt709``, or the exponent of a power law that decodes.
    """
    if isinstance(transfer, str):
        code = np.linspace(0, 1, 4096)
        light = _DECODING[transfer](code)
        table = np.round(light * 65535).astype(np.uint16)
        made = imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, transferfunction=table)
    else:
        made = imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, gamma=transfer)
    return dateless(made)


_DECODING = {
    "srgb": lambda code: np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4),
    "bt709": lambda code: np.where(code < 0.081, code / 4.5, ((code + 0.099) / 1.099) ** (1 / 0.45)),
}


def dateless(profile: bytes) -> bytes:
    """Set the date in a profile's header (ICC.1:2022, 7.2.1, bytes 24 to 35) to a fixed one, for equal bytes."""
    return profile[:24] + bytes.fromhex("07d0 0001 0001 0000 0000 0000") + profile[36:]


@lru_cache(maxsize=64)
def _usable(profile: bytes) -> bool:
    try:
        _convert(np.zeros((1, 1, 3), np.float32), profile, srgb())
    except Exception as error:  # littlecms' own, or of the array's shape
        log.warning("a photo's colour profile cannot be used (%s): its colours are taken as sRGB", error)
        return False
    return True


def _in_parts(values: Float[Tensor, "3 h w"], source: bytes, target: bytes) -> Float[Tensor, "3 h w"]:
    """Convert an image of any shape in parts of equal cost, however long its rows are."""
    pixels = values.detach().cpu().float().reshape(3, -1).T.contiguous().numpy()
    parts = [_convert(pixels[None, at : at + _PIXELS], source, target)[0] for at in range(0, len(pixels), _PIXELS)]
    return torch.from_numpy(np.concatenate(parts)).T.reshape(values.shape).contiguous().to(values.device)


def _convert(pixels: np.ndarray, source: bytes, target: bytes) -> np.ndarray:
    """Convert ``h w 3`` in float32; of and to grey, the channels are equal."""
    kinds = [_KINDS[profile[16:20]] for profile in (source, target)]
    given = np.ascontiguousarray(pixels[..., 0]) if kinds[0] == "gray" else pixels
    made = imagecodecs.cms_transform(
        given, source, target, colorspace=kinds[0], outcolorspace=kinds[1], outdtype="f4", intent=_INTENT, flags=_FLAGS
    )
    if kinds[1] == "gray":
        made = np.repeat(made.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return made
