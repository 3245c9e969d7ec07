"""Reading, writing and resizing of images and masks, on 8 bits as PIL does it."""

import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from diffharmon.errors import InputError
from diffharmon.files import replacing
from diffharmon.images.decoding import SMALLEST_SIDE as SMALLEST_SIDE
from diffharmon.images.decoding import decode
from diffharmon.types import Composite

Filter = Literal["lanczos", "bicubic", "bilinear", "box"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MASK_THRESHOLD = 100 / 255

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


@dataclass(frozen=True)
class Picture:
    """An image file's content.

    Attributes:
        image: RGB in [0, 1], upright.
        alpha: Transparency in [0, 1] (1 is opaque) where the file has one.
        profile: ICC profile where the file has one for RGB.
    """

    image: Float[Tensor, "3 h w"]
    alpha: Float[Tensor, "1 h w"] | None = None
    profile: bytes | None = None


def read_image(path: str | os.PathLike[str]) -> Picture:
    """Read a photo as RGB in [0, 1].

    Understands grey, palette, transparent, 1-bit, 16-bit and CMYK files (CMYK through its own ICC profile when it
    has one) and applies the EXIF orientation. Transparent colours stay as stored.

    Raises:
        InputError: For a missing, damaged, too small (a side under 8 pixels) or absurdly large file.
    """
    pixels = decode(Path(path))
    values = torch.from_numpy(pixels.values.astype(np.float32) / np.float32(pixels.peak)).permute(2, 0, 1)
    channels = values.shape[0]
    colour = values[:3] if channels >= 3 else values[:1].expand(3, -1, -1)
    alpha = values[-1:].contiguous() if channels in (2, 4) else None
    return Picture(colour.contiguous(), alpha, pixels.profile)


def read_mask(path: str | os.PathLike[str]) -> Float[Tensor, "1 h w"]:
    """Read a foreground mask as values in [0, 1]; 1 is foreground.

    Files that hold only 0 and 1, and 16-bit files that hold only 8-bit values, are scaled to their meaning. In a file
    with transparency the alpha channel is the mask when it varies and the colour does not; otherwise alpha is
    ignored. Of the colour channels the first counts, as in the method's public code, unless it is constant; then the
    brightest does.

    Raises:
        InputError: As ``read_image``.
    """
    pixels = decode(Path(path))
    values, peak = pixels.values, pixels.peak
    if values.shape[2] in (2, 4):
        colour, alpha = values[..., :-1], values[..., -1:]
        flat = bool((colour == colour[:1, :1]).all())
        values = alpha if flat and alpha.min() != alpha.max() else colour
    first = values[..., 0]
    plane = (first if first.min() != first.max() else values.max(axis=2)).astype(np.float32)
    if peak > 1:
        highest = plane.max()
        peak = 1.0 if highest <= 1 else 255.0 if highest <= 255 else peak
    return torch.from_numpy(plane / np.float32(peak))[None]


def check_mask(mask: Float[Tensor, "1 h w"], image: Float[Tensor, "3 y x"], name: str) -> None:
    """Refuse a mask that does not belong to the image or that selects nothing or everything.

    Args:
        mask: Foreground mask in [0, 1].
        image: The image it should fit.
        name: What to call the mask in the message, such as its file.

    Raises:
        InputError: For another size, or no or every pixel above 100/255.
    """
    given, expected = tuple(mask.shape[-2:]), tuple(image.shape[-2:])
    if given != expected:
        raise InputError(
            f"mask {name} is {given[1]} x {given[0]} pixels, expected {expected[1]} x {expected[0]} "
            "(width x height) as its image"
        )
    foreground = mask > MASK_THRESHOLD
    if not foreground.any():
        raise InputError(f"mask {name} is empty: no pixel is brighter than 100 of 255, expected a foreground")
    if foreground.all():
        raise InputError(f"mask {name} covers the whole image, expected some background around the foreground")


def resize(
    image: Float[Tensor, "c h w"],
    size: tuple[int, int],
    filter: Filter = "lanczos",
    alpha: Float[Tensor, "1 h w"] | None = None,
) -> Float[Tensor, "c y x"]:
    """Resize on 8 bits exactly as ``PIL.Image.resize`` does the file.

    Args:
        image: One (mask) or three (RGB) channels in [0, 1].
        size: New height and width.
        filter: One of PIL's antialiased filters.
        alpha: Transparency of an RGB image; colours are then weighted by it, as PIL does, and it is dropped.

    Raises:
        ValueError: For an unknown filter, a number of channels other than 1 or 3, or alpha beside one channel.
    """
    if filter not in FILTERS:
        raise ValueError(f"unknown filter {filter!r}, expected one of {', '.join(FILTERS)}")
    channels = image.shape[0]
    if channels not in (1, 3) or (channels == 1 and alpha is not None):
        raise ValueError(f"expected 1 channel, or 3 with or without alpha, got {channels} (alpha: {alpha is not None})")
    stacked = image if alpha is None else torch.cat((image, alpha.to(image)))
    picture = _to_pil(stacked).resize((size[1], size[0]), FILTERS[filter])
    array = np.asarray(picture).reshape(size[0], size[1], -1)[..., :channels]
    return from_uint8(torch.from_numpy(array.transpose(2, 0, 1).copy())).to(image.device)


def binary_mask(
    mask: Float[Tensor, "1 h w"], size: tuple[int, int], threshold: float = MASK_THRESHOLD
) -> Float[Tensor, "1 y x"]:
    """Resize a mask with PIL's LANCZOS on 8 bits and set what is above ``threshold`` to 1, the rest to 0.

    The default threshold, 100 of 255, and the filter are those of the method's public code (its quirk Q9).
    """
    levels = to_uint8(resize(mask, size)).double() / 255
    return (levels > threshold).to(mask)


def squash(composite: Composite, side: int) -> Composite:
    """Bring a whole composite to a square, aspect ratio not kept: LANCZOS, binary mask, transparency dropped."""
    size = (side, side)
    return replace(
        composite,
        image=resize(composite.image, size, "lanczos", composite.alpha),
        mask=binary_mask(composite.mask, size),
        real=None if composite.real is None else resize(composite.real, size),
        alpha=None,
    )


def write_image(
    path: str | os.PathLike[str],
    image: Float[Tensor, "c h w"],
    alpha: Float[Tensor, "1 h w"] | None = None,
    profile: bytes | None = None,
) -> None:
    """Write an 8-bit PNG, rounded; the file appears complete or not at all, and equal input gives equal bytes.

    Args:
        path: A name that ends in ``.png``; its folder is made when missing.
        image: One or three channels; values are clipped to [0, 1].
        alpha: Transparency to store with an RGB image.
        profile: ICC profile to embed.

    Raises:
        ValueError: For another suffix.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"images are written as PNG, expected a name ending in .png, got {path.name}")
    picture = _to_pil(image if alpha is None else torch.cat((image, alpha.to(image))))
    # Run lengths suit the filtered rows of photos: a third of the default's time for files of about the same size.
    options = {"compress_level": 1, "compress_type": zlib.Z_RLE, **({"icc_profile": profile} if profile else {})}
    with replacing(path) as partial:
        picture.save(partial, format="PNG", **options)


def to_uint8(image: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    """Turn [0, 1] into rounded 8-bit values; what is outside is clipped."""
    return (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)


def from_uint8(image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
    """Turn 8-bit values into [0, 1] in float32."""
    return image.float() / 255


def _to_pil(image: Float[Tensor, "c h w"]) -> Image.Image:
    array = to_uint8(image).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
