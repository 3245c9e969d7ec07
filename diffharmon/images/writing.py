"""Writing of results at the depth of their input, and the check that their background is the input's."""

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from jaxtyping import Float
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from diffharmon.errors import ResultError
from diffharmon.files import replacing
from diffharmon.images.colour import to_own_space
from diffharmon.images.decoding import decode
from diffharmon.images.exr import SUFFIX as EXR
from diffharmon.images.exr import write_exr
from diffharmon.images.levels import samples
from diffharmon.types import Composite
from diffharmon.types.levels import bands

# The file format that holds a depth without loss, by its ending.
SUFFIX_OF_DEPTH = {8: ".png", 16: ".png", 32: ".tif"}
EVERY_ROW = slice(None)
NOTHING: Mapping[str, bytes] = MappingProxyType({})
_XMP_TAG = 700  # of TIFF, in Adobe's XMP specification, part 3
_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


def suffix_of(composite: Composite) -> str:
    """Return the ending of the format that holds a composite's depth and light without loss."""
    return EXR if composite.linear else SUFFIX_OF_DEPTH[composite.depth]


def own_values(composite: Composite, result: Float[Tensor, "3 y x"]) -> Float[Tensor, "3 y x"]:
    """Return a result in the colour space of the composite's file; pixels that did not change keep their values."""
    if composite.encoded is None or composite.profile is None:
        return result
    encoded, image = composite.encoded.to(result), composite.image.to(result)
    return to_own_space(result, image, encoded, composite.profile)


def write_result(path: str | os.PathLike[str], composite: Composite, result: Float[Tensor, "3 y x"]) -> None:
    """Write a result as its composite's file was: depth, colour space, transparency, greyness, metadata.

    Args:
        path: As for ``write_image``.
        composite: What was harmonized.
        result: The result in sRGB; of another size, it is written without transparency.
    """
    if result.shape != composite.image.shape:
        composite = replace(composite.in_srgb(), alpha=None)
    values = own_values(composite, result)
    form: dict[str, Any] = {
        "depth": composite.depth,
        "grey": composite.grey,
        "linear": composite.linear,
        "metadata": composite.metadata,
    }
    write_image(path, values, composite.alpha, composite.profile, **form)


def write_image(
    path: str | os.PathLike[str],
    image: Float[Tensor, "c h w"],
    alpha: Float[Tensor, "1 h w"] | None = None,
    profile: bytes | None = None,
    depth: int = 8,
    grey: bool = False,
    linear: bool = False,
    metadata: Mapping[str, bytes] = NOTHING,
) -> None:
    """Write an image, rounded to its depth; it appears complete or not at all, and equal input gives equal bytes.

    Args:
        path: A name that ends in ``.png`` (8 or 16 bits), ``.tif`` (8 or 16 bits, or 32-bit float) or, for linear
            light, ``.exr`` (16 or 32-bit float); its folder is made when missing.
        image: One or three channels; values are clipped to [0, 1], but for linear light.
        alpha: Transparency to store with an RGB image.
        profile: ICC profile to embed.
        depth: Bits a sample: 8, 16 or 32.
        grey: Write one channel, the luminance of an RGB image; equal channels come out as they are.
        linear: The values are scene-linear light, which may exceed 1.
        metadata: ``exif`` (PNG) and ``xmp`` (PNG, TIFF) to embed, ``chromaticities`` of OpenEXR.

    Raises:
        ValueError: For another suffix, or a depth that the format does not hold.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    _check_form(path, suffix, depth, linear)

    def written(rows: slice) -> np.ndarray:
        part = image[:, rows]
        made = samples(to_grey(part) if grey else part, depth, linear)
        if alpha is not None:
            made = np.concatenate((made, samples(alpha[:, rows], depth, linear)), axis=2)
        return made[..., 0] if made.shape[2] == 1 else made

    with replacing(path) as partial:
        if suffix == EXR:
            write_exr(partial, written(EVERY_ROW), metadata)
        elif suffix != ".png":
            _write_tiff(partial, written(EVERY_ROW), profile, metadata)
        elif depth == 16:
            _write_deep_png(partial, written(EVERY_ROW), profile, metadata)
        else:
            _write_png(partial, _picture(written, *image.shape[1:]), profile, metadata)


def _check_form(path: Path, suffix: str, depth: int, linear: bool) -> None:
    if linear != (suffix == EXR):
        raise ValueError(f"scene-linear light is written as .exr, and nothing else is, got {path.name}")
    if suffix not in (".png", ".tif", ".tiff", EXR):
        raise ValueError(f"images are written as PNG or TIFF, expected a name ending in .png or .tif, got {path.name}")
    if depth not in SUFFIX_OF_DEPTH or (suffix == ".png" and depth == 32) or (linear and depth == 8):
        raise ValueError(
            f"expected a depth of 8 or 16 for .png, of 8, 16 or 32 for .tif, of 16 or 32 for .exr, got {depth} for "
            f"{path.name}"
        )


def to_grey(image: Float[Tensor, "c h w"]) -> Float[Tensor, "1 h w"]:
    """Reduce RGB to luminance (BT.709); pixels with equal channels keep their value."""
    if image.shape[0] == 1:
        return image
    weights = torch.tensor(_LUMA, device=image.device, dtype=torch.float64)
    luma = (image.double() * weights[:, None, None]).sum(dim=0, keepdim=True).to(image.dtype)
    equal = (image[:1] == image[1:2]) & (image[:1] == image[2:3])
    return torch.where(equal, image[:1], luma)


def quantize(image: Float[Tensor, "c h w"], depth: int, linear: bool = False) -> np.ndarray:
    """Turn [0, 1] into the samples ``c h w`` of a depth, as ``levels.samples`` does."""
    return samples(image, depth, linear).transpose(2, 0, 1)


def check_background(path: str | os.PathLike[str], composite: Composite) -> None:
    """Compare the background of a written result with its composite, bit for bit at the composite's depth.

    The background is where the mask is 0. Transparency is compared too where the composite has some.

    Args:
        path: The file that ``write_image`` wrote.
        composite: What was harmonized, with its mask and depth.

    Raises:
        ResultError: For a file of another size or depth, or a background that differs; it says how much.
    """
    path = Path(path)
    pixels = decode(path, max_megapixels=float("inf"))
    found, own = pixels.values, composite.image if composite.encoded is None else composite.encoded
    height, width = own.shape[1:]
    if found.shape[:2] != (height, width) or pixels.depth != composite.depth:
        raise ResultError(
            f"{path} is {found.shape[1]} x {found.shape[0]} pixels of {pixels.depth} bits, expected {width} x "
            f"{height} of {composite.depth} as its composite"
        )
    differing = total = 0
    for rows in bands(height, width):
        background = (composite.mask[0, rows] <= 0).cpu().numpy()
        total += int(background.sum())
        differing += int((_differs(found[rows], composite, own, rows) & background).sum())
    if differing:
        raise ResultError(
            f"the background of {path} is not the composite's: {differing:,} of {total:,} pixels "
            "outside the foreground mask differ"
        )


def _differs(found: np.ndarray, composite: Composite, own: Float[Tensor, "3 h w"], rows: slice) -> np.ndarray:
    """Tell which pixels of some rows of a file are not those of ``own`` at the composite's depth, alpha included."""
    has_alpha = found.shape[2] in (2, 4)
    colours = found[..., :-1] if has_alpha else found
    differing = (colours != samples(own[:, rows], composite.depth, composite.linear)).any(axis=2)
    if composite.alpha is None:
        return differing
    if not has_alpha:
        return np.ones_like(differing)
    return differing | (found[..., -1] != samples(composite.alpha[:, rows], composite.depth, composite.linear)[..., 0])


def _picture(written: Callable[[slice], np.ndarray], height: int, width: int) -> Image.Image:
    """Put samples of 8 bits into a picture by bands, so that they are not all there twice."""
    picture = Image.new(Image.fromarray(written(slice(0, 1))).mode, (width, height))
    for rows in bands(height, width):
        picture.paste(Image.fromarray(written(rows)), (0, rows.start))
    return picture


def _write_png(path: Path, picture: Image.Image, profile: bytes | None, metadata: Mapping[str, bytes]) -> None:
    # Run lengths suit the filtered rows of photos: a third of the default's time, files of about the same size.
    options: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
    options |= {"icc_profile": profile} if profile else {}
    options |= {"exif": metadata["exif"]} if "exif" in metadata else {}
    if "xmp" in metadata:
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", metadata["xmp"].decode("utf-8", "replace"))
        options["pnginfo"] = text
    picture.save(path, format="PNG", **options)


def _write_deep_png(path: Path, samples: np.ndarray, profile: bytes | None, metadata: Mapping[str, bytes]) -> None:
    """Write 16 bits, which Pillow cannot for colour."""
    if samples.ndim == 3 and samples.shape[2] == 2:  # OpenCV has no grey with alpha
        samples = np.concatenate([np.repeat(samples[..., :1], 3, axis=2), samples[..., 1:]], axis=2)
    ordered = samples if samples.ndim == 2 else np.ascontiguousarray(samples[..., [2, 1, 0, 3][: samples.shape[2]]])
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    chunks = {cv2.IMAGE_METADATA_ICCP: profile, cv2.IMAGE_METADATA_XMP: metadata.get("xmp")}
    exif = metadata.get("exif", b"").removeprefix(b"Exif\0\0")
    chunks[cv2.IMAGE_METADATA_EXIF] = exif
    present = {kind: np.frombuffer(data, np.uint8) for kind, data in chunks.items() if data}
    done, data = cv2.imencodeWithMetadata(".png", ordered, list(present), list(present.values()), options)
    if not done:
        raise OSError(f"cannot encode {path.name} as PNG")
    path.write_bytes(data.tobytes())


def _write_tiff(path: Path, samples: np.ndarray, profile: bytes | None, metadata: Mapping[str, bytes]) -> None:
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    xmp = metadata.get("xmp")
    tifffile.imwrite(
        path,
        samples,
        photometric="rgb" if channels >= 3 else "minisblack",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        planarconfig="contig" if channels > 1 else None,
        iccprofile=profile,
        compression="zlib",
        metadata=None,
        software=False,
        extratags=[(_XMP_TAG, "B", len(xmp), xmp, True)] if xmp else (),
    )
