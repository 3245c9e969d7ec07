"""Between the pictures that people have (files, PIL, numpy, torch) and the values that flow through diffharmon."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from diffharmon import images
from diffharmon.errors import InputError
from diffharmon.images import MAX_MEGAPIXELS, Picture
from diffharmon.images.colour import kind as colour_kind
from diffharmon.types import Composite

EXPECTED = "expected a file, a PIL image, a numpy array (h w 3 or h w) or a torch tensor (3 h w or 1 h w)"


@dataclass(frozen=True)
class Loaded:
    """A picture with what is needed to give it back as it came.

    Attributes:
        picture: Its content.
        kind: ``file``, ``pil``, ``numpy`` or ``torch``.
        name: Stem of a file's name; ``image`` for anything else.
    """

    picture: Picture
    kind: str
    name: str = "image"


def load(picture: Any, what: str, max_megapixels: float = MAX_MEGAPIXELS) -> Loaded:
    """Read a picture of any of the kinds.

    Arrays of integers span their type's range; floating point is in [0, 1]. Arrays are sRGB; files and PIL images are
    of the colour space that they state.

    Args:
        picture: The picture.
        what: What it is, for messages.
        max_megapixels: The largest number of pixels of a file in millions.

    Raises:
        InputError: It is of no such kind, or its shape or range is not one of a picture.
    """
    if isinstance(picture, str | os.PathLike):
        path = Path(picture).expanduser()
        return Loaded(images.read_image(path, max_megapixels), "file", path.stem)
    if isinstance(picture, Image.Image):
        profile = None if picture.mode in ("CMYK", "LAB", "YCbCr") else picture.info.get("icc_profile")
        return _from_array(np.asarray(_plain(picture)), "pil", what, profile)
    if isinstance(picture, Tensor):
        values = picture.detach().cpu()
        if values.ndim == 2:
            values = values[None]
        if values.ndim != 3:
            raise InputError(f"{what}: {EXPECTED}, got a tensor of shape {tuple(picture.shape)}")
        return _from_array(values.permute(1, 2, 0).numpy(), "torch", what)
    if isinstance(picture, np.ndarray):
        return _from_array(picture, "numpy", what)
    raise InputError(f"{what}: {EXPECTED}, got {type(picture).__name__}")


def load_mask(mask: Any, max_megapixels: float = MAX_MEGAPIXELS) -> Float[Tensor, "1 h w"]:
    """Read a foreground mask: of files what the mask rule reads, of arrays the alpha channel or the grey values.

    Raises:
        InputError: As ``load``.
    """
    if isinstance(mask, str | os.PathLike):
        return images.read_mask(Path(mask).expanduser(), max_megapixels=max_megapixels)
    if isinstance(mask, np.ndarray | Tensor) and mask.dtype in (np.bool_, torch.bool):
        mask = mask.astype(np.float32) if isinstance(mask, np.ndarray) else mask.float()
    loaded = load(mask, "mask").picture
    if loaded.alpha is not None and float(loaded.alpha.min()) < 1:
        return loaded.alpha
    return loaded.image[:1]


def give_back(result: Float[Tensor, "3 h w"], composite: Composite, kind: str) -> Any:
    """Return a result as the kind of picture that came in; a file comes back as a PIL image of 8 bits.

    PIL images have the colour space of what came in, with its profile.
    """
    own = images.own_values(composite, result)
    values = images.to_grey(own) if composite.grey else own
    if composite.alpha is not None:
        values = torch.cat((values, composite.alpha.to(values)))
    if kind == "torch":
        return values
    deep = kind == "numpy" and composite.depth > 8
    array = images.quantize(values, composite.depth if deep else 8).transpose(1, 2, 0)
    array = np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)
    if kind == "numpy":
        return array
    picture = Image.fromarray(array)
    if composite.profile is not None and not composite.linear:
        picture.info["icc_profile"] = composite.profile
    return picture


def _plain(picture: Image.Image) -> Image.Image:
    """Bring a PIL image to grey, RGB or either with transparency."""
    if picture.mode in ("L", "LA", "RGB", "RGBA", "I;16"):
        return picture
    if picture.mode == "1":
        return picture.convert("L")
    transparent = "transparency" in picture.info or picture.mode in ("PA", "La", "RGBa")
    return picture.convert("RGBA" if transparent else "RGB")


def _from_array(array: np.ndarray, kind: str, what: str, profile: bytes | None = None) -> Loaded:
    given = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or min(array.shape[:2]) < images.SMALLEST_SIDE:
        raise InputError(f"{what}: {EXPECTED}, got shape {given}")
    if np.issubdtype(array.dtype, np.unsignedinteger):
        peak, depth = float(np.iinfo(array.dtype).max), 8 * array.dtype.itemsize
    elif np.issubdtype(array.dtype, np.floating):
        peak, depth = 1.0, 32
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise InputError(f"{what}: floating-point pictures are in [0, 1], got {array.min():g} to {array.max():g}")
    else:
        raise InputError(f"{what}: expected unsigned integers or floating point, got {array.dtype}")
    values = torch.from_numpy(np.ascontiguousarray(array, np.float32) / np.float32(peak)).permute(2, 0, 1)
    channels = len(values)
    colour = values[:3] if channels >= 3 else values[:1].expand(3, -1, -1)
    alpha = values[-1:].contiguous() if channels in (2, 4) else None
    grey = channels < 3
    fitting = profile if grey or colour_kind(profile) == "rgb" else None
    return Loaded(images.picture_of(colour.contiguous(), alpha, fitting, depth, grey), kind)
