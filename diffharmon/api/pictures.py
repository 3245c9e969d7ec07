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
from diffharmon.errors import DoubtfulMask, InputError
from diffharmon.images import MAX_MEGAPIXELS, Picture
from diffharmon.types import Composite

EXPECTED = "expected a file, a PIL image, a numpy array (h w 3 or h w) or a torch tensor (3 h w or 1 h w)"
# What a call can do where a dataset has settings.
PLAIN_MASK = "give the mask itself as booleans, true on the foreground, such as array == label or array[..., 0] > 127"


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
    kinds: dict[type, str] = {Image.Image: "pil", Tensor: "torch", np.ndarray: "numpy"}
    kind = next((name for given, name in kinds.items() if isinstance(picture, given)), "")
    return Loaded(images.picture_from(_pixels(picture, what)), kind)


def load_mask(mask: Any, max_megapixels: float = MAX_MEGAPIXELS) -> Float[Tensor, "1 h w"]:
    """Read a foreground mask of any of the kinds by the rule for mask files; of booleans, true is foreground.

    Raises:
        InputError: As ``load``, or it leaves in doubt what the mask is.
    """
    try:
        if isinstance(mask, str | os.PathLike):
            return images.read_mask(Path(mask).expanduser(), max_megapixels=max_megapixels)
        if isinstance(mask, np.ndarray | Tensor) and mask.dtype in (np.bool_, torch.bool):
            mask = mask.astype(np.float32) if isinstance(mask, np.ndarray) else mask.float()
        return images.mask_of(_pixels(mask, "mask"), "picture").values
    except DoubtfulMask as doubt:
        raise DoubtfulMask(doubt.found, PLAIN_MASK) from None


def give_back(result: Float[Tensor, "3 h w"], composite: Composite, kind: str) -> Any:
    """Return a result as the kind of picture that came in; a file comes back as a PIL image of 8 bits.

    Arrays and tensors have the depth of what came in, as has a grey PIL image of 16 bits. PIL images have the colour
    space of what came in, with its profile.
    """
    own = images.own_values(composite, result)
    values = images.to_grey(own) if composite.grey else own
    if composite.alpha is not None:
        values = torch.cat((values, composite.alpha.to(values)))
    if kind == "torch":
        made = torch.from_numpy(np.ascontiguousarray(images.quantize(values, composite.depth)))
        return made if composite.depth < 32 else values
    deep = composite.depth > 8 and (kind == "numpy" or (kind == "pil" and len(values) == 1 and composite.depth == 16))
    array = images.quantize(values, composite.depth if deep else 8).transpose(1, 2, 0)
    array = np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array)
    if kind == "numpy":
        return array
    picture = Image.fromarray(array)
    if composite.profile is not None and not composite.linear:
        picture.info["icc_profile"] = composite.profile
    return picture


def _pixels(picture: Any, what: str) -> images.Pixels:
    """Bring what is no file to samples."""
    if isinstance(picture, Image.Image):
        pixels = images.held(picture, what)
        _require_shape(pixels.values, picture.size, what)
        return pixels
    if isinstance(picture, Tensor):
        values = picture.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values  # numpy has no such type
        array = values.movedim(0, -1).numpy() if values.ndim == 3 else values.numpy()
    elif isinstance(picture, np.ndarray):
        array = picture
    else:
        raise InputError(f"{what}: {EXPECTED}, got {type(picture).__name__}")
    array = array[..., None] if array.ndim == 2 else array
    _require_shape(array, picture.shape, what)
    if np.issubdtype(array.dtype, np.unsignedinteger):
        peak, depth = float(np.iinfo(array.dtype).max), 8 * array.dtype.itemsize
    elif np.issubdtype(array.dtype, np.floating):
        peak, depth = 1.0, 32
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise InputError(f"{what}: floating-point pictures are in [0, 1], got {array.min():g} to {array.max():g}")
    else:
        raise InputError(f"{what}: expected unsigned integers or floating point, got {array.dtype}")
    return images.Pixels(array.astype(array.dtype.newbyteorder("=")), peak, depth, array.shape[2] < 3)


def _require_shape(array: np.ndarray, given: Any, what: str) -> None:
    """Refuse what is no ``h w c`` of a picture's size."""
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or min(array.shape[:2]) < images.SMALLEST_SIDE:
        raise InputError(f"{what}: {EXPECTED} of at least {images.SMALLEST_SIDE} pixels, got shape {tuple(given)}")
