"""Reading, writing and resizing of images and masks; resizing is done on 8 bits as PIL does it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from diffharmon.images.colour import from_srgb, kind, to_srgb
from diffharmon.images.decoding import Pixels, decode, held, image_size
from diffharmon.images.levels import from_samples, from_uint8, samples, to_uint8
from diffharmon.images.masks import MASK_FLOOR, MASK_THRESHOLD, Mask, MaskRule, check_mask, load_mask, mask_of
from diffharmon.images.opening import MAX_MEGAPIXELS, SMALLEST_SIDE, require_regular
from diffharmon.images.writing import (
    SUFFIX_OF_DEPTH,
    check_background,
    own_values,
    quantize,
    suffix_of,
    to_grey,
    write_image,
    write_result,
)
from diffharmon.types import Composite
from diffharmon.types.levels import bands

__all__ = [
    "FILTERS",
    "MASK_FLOOR",
    "MASK_THRESHOLD",
    "MAX_MEGAPIXELS",
    "SMALLEST_SIDE",
    "SUFFIXES",
    "SUFFIX_OF_DEPTH",
    "Filter",
    "Mask",
    "MaskRule",
    "Picture",
    "Pixels",
    "binary_mask",
    "check_background",
    "check_mask",
    "coloured",
    "from_srgb",
    "from_uint8",
    "held",
    "image_size",
    "load_mask",
    "mask_of",
    "own_values",
    "picture_from",
    "picture_of",
    "quantize",
    "read_image",
    "read_mask",
    "require_regular",
    "resize",
    "squash",
    "suffix_of",
    "to_grey",
    "to_uint8",
    "write_image",
    "write_result",
]

Filter = Literal["lanczos", "bicubic", "bilinear", "box"]

# Endings by which a folder's images are recognized; HEIC, JPEG XL and OpenEXR are read with their extras.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic", ".heif", ".jxl", ".exr")

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
        image: sRGB in [0, 1], upright.
        alpha: Transparency in [0, 1] (1 is opaque) where the file has one.
        profile: ICC profile of the file's own values, where it has one.
        depth: Bits a sample of the file, 8 or 16; 32 is floating point.
        grey: Whether the file has no colour.
        encoded: The file's own values, white at 1, in the colour space of ``profile``; None where that is sRGB.
        linear: Whether ``encoded`` is scene-linear light, which may exceed 1.
        metadata: The file's ``exif``, ``xmp`` and (OpenEXR) ``chromaticities``, where it has them.
    """

    image: Float[Tensor, "3 h w"]
    alpha: Float[Tensor, "1 h w"] | None = None
    profile: bytes | None = None
    depth: int = 8
    grey: bool = False
    encoded: Float[Tensor, "3 h w"] | None = None
    linear: bool = False
    metadata: Mapping[str, bytes] = field(default_factory=dict)

    def composite(
        self,
        name: str,
        source: str,
        mask: Float[Tensor, "1 h w"],
        real: Float[Tensor, "3 h w"] | None = None,
        mask_source: str = "",
    ) -> Composite:
        """Return the composite of this photo and a foreground mask."""
        form = {part.name: getattr(self, part.name) for part in fields(self)}
        return Composite(name=name, source=source, mask=mask, real=real, mask_source=mask_source, **form)


def read_image(
    path: str | os.PathLike[str],
    max_megapixels: float = MAX_MEGAPIXELS,
    colour: bool = False,
    profiles: bool = True,
) -> Picture:
    """Read a photo as sRGB in [0, 1], with its own values at the depth of the file.

    Understands grey, palette, transparent, 1-bit, 16-bit, 32-bit float and CMYK files (CMYK through its own ICC
    profile when it has one), converts from the photo's colour space and applies the EXIF orientation. Transparent
    colours stay as stored.

    Args:
        path: The file.
        max_megapixels: The largest number of pixels in millions.
        colour: Treat a grey photo as one with colours, which its result may then have.
        profiles: Convert from the photo's colour space; otherwise its values are taken as they are stored.

    Raises:
        InputError: For a missing, damaged or too small file (a side under 8 pixels), one of more than
            ``max_megapixels`` million pixels, or one of a format that is not read.
    """
    picture = picture_from(decode(Path(path), max_megapixels), profiles)
    return coloured(picture) if colour else picture


def picture_from(pixels: Pixels, profiles: bool = True) -> Picture:
    """Return the picture of decoded samples; see ``read_image``."""
    channels = pixels.values.shape[2]
    own = from_samples(pixels.values[..., : 3 if channels >= 3 else 1], pixels.peak).expand(3, -1, -1).contiguous()
    alpha = from_samples(pixels.values[..., -1:], pixels.peak) if channels in (2, 4) else None
    if profiles or pixels.linear:
        picture = picture_of(own, alpha, pixels.profile, pixels.depth, pixels.grey)
    else:
        picture = Picture(own, alpha, pixels.profile, pixels.depth, pixels.grey)
    return replace(picture, linear=pixels.linear, metadata=pixels.metadata)


def picture_of(
    own: Float[Tensor, "3 h w"],
    alpha: Float[Tensor, "1 h w"] | None = None,
    profile: bytes | None = None,
    depth: int = 8,
    grey: bool = False,
) -> Picture:
    """Return the picture of values in a colour space; a profile that cannot be used is left out."""
    profile = profile if kind(profile) else None
    image = to_srgb(own, profile)
    if image is None:
        return Picture(own, alpha, profile, depth, grey)
    return Picture(image, alpha, profile, depth, grey, own)


def coloured(picture: Picture) -> Picture:
    """Return a grey picture as one with colours; a grey colour space becomes sRGB."""
    if kind(picture.profile) == "gray":
        return replace(picture, grey=False, profile=None, encoded=None)
    return replace(picture, grey=False)


def read_mask(
    path: str | os.PathLike[str], rule: MaskRule | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> Float[Tensor, "1 h w"]:
    """Read a foreground mask as values in [0, 1]; 1 is foreground. See ``masks.load_mask``."""
    return load_mask(Path(path), rule, max_megapixels).values


def resize(
    image: Float[Tensor, "c h w"] | UInt8[Tensor, "c h w"],
    size: tuple[int, int],
    filter: Filter = "lanczos",
    alpha: Float[Tensor, "1 h w"] | None = None,
) -> Float[Tensor, "c y x"]:
    """Resize on 8 bits exactly as ``PIL.Image.resize`` does the file.

    Args:
        image: One (mask) or three (RGB) channels in [0, 1], or their 8-bit values.
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
    if tuple(image.shape[1:]) == tuple(size):
        return from_uint8(image if image.dtype == torch.uint8 else to_uint8(image))
    picture = _resized(image, size, FILTERS[filter], alpha)
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


def squash(composite: Composite, size: tuple[int, int]) -> Composite:
    """Bring a whole composite to a height and width, aspect not kept: LANCZOS, binary mask, transparency dropped."""
    return replace(
        composite.in_srgb(),
        image=resize(composite.image, size, "lanczos", composite.alpha),
        mask=binary_mask(composite.mask, size),
        real=None if composite.real is None else resize(composite.real, size),
        alpha=None,
    )


def _resized(
    image: Float[Tensor, "c h w"] | UInt8[Tensor, "c h w"],
    size: tuple[int, int],
    filter: Image.Resampling,
    alpha: Float[Tensor, "1 h w"] | None,
) -> Image.Image:
    """Resize by bands of rows: PIL squashes all rows first and rounds them, and only then columns."""
    height, width = image.shape[1:]
    # Pillow's modes; the colours of RGBa are weighted by its alpha, as PIL does it by itself where it resizes RGBA.
    mode = "RGBa" if alpha is not None else "L" if image.shape[0] == 1 else "RGB"
    narrow = Image.new(mode, (size[1], height))
    for rows in bands(height, width):
        part = image[:, rows] if alpha is None else torch.cat((image[:, rows], alpha[:, rows].to(image)))
        picture = _to_pil(part) if alpha is None else _to_pil(part).convert(mode)
        narrow.paste(picture.resize((size[1], picture.height), filter), (0, rows.start))
    made = narrow.resize((size[1], size[0]), filter)
    return made if alpha is None else made.convert("RGBA")


def _to_pil(image: Float[Tensor, "c h w"] | UInt8[Tensor, "c h w"]) -> Image.Image:
    array = image.permute(1, 2, 0).cpu().numpy() if image.dtype == torch.uint8 else samples(image, 8)
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
