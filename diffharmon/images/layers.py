"""Layered Photoshop files: the photo, the result above it behind a layer mask, and the foreground mask."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from diffharmon.errors import InputError
from diffharmon.files import replacing
from diffharmon.images.levels import samples, to_uint8
from diffharmon.types import Composite

if TYPE_CHECKING:
    from types import ModuleType

SUFFIX = ".psd"


def write_layers(path: str | os.PathLike[str], composite: Composite, result: Float[Tensor, "3 h w"]) -> Path:
    """Write composite and result as the layers of a Photoshop file, in the photo's colour space.

    The result's layer mask is white wherever the foreground mask is above 0, so that the visible layers give the
    result, and a lower opacity of that layer is a lower strength. The foreground mask is a hidden layer on top. Files
    of 8 and 16 bits keep their depth; floating point becomes 16 bits, linear light 32.

    Args:
        path: A name that ends in ``.psd``.
        composite: What was harmonized.
        result: The result, as ``own_values`` gives it or as its file holds it.

    Raises:
        InputError: The name has another ending, or the extra ``psd`` is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"layers are written as {SUFFIX} files, got {path.name}")
    library = _library()
    depth: Any = 32 if composite.linear else min(composite.depth, 16)
    height, width = composite.image.shape[-2:]
    document = library.PSDImage.new("RGB", (width, height), depth=depth)
    if composite.profile is not None:
        _embed(document, composite.profile)
    own = composite.image if composite.encoded is None else composite.encoded
    document.create_pixel_layer_from_array(samples(own, depth, linear=depth == 32), "Composite")
    front = document.create_pixel_layer_from_array(samples(result, depth, linear=depth == 32), "Harmonized")
    front.create_mask(_grey((composite.mask > 0).float()))
    mask = document.create_pixel_layer(_grey(composite.mask), "Foreground mask")
    mask.visible = False
    with replacing(path) as partial:
        document.save(partial)
    return path


def _grey(plane: Float[Tensor, "1 h w"]) -> Image.Image:
    return Image.fromarray(to_uint8(plane)[0].cpu().numpy())


def _embed(document: Any, profile: bytes) -> None:
    from psd_tools.constants import Resource
    from psd_tools.psd.image_resources import ImageResource

    document.image_resources[Resource.ICC_PROFILE] = ImageResource(key=Resource.ICC_PROFILE.value, data=profile)


def _library() -> "ModuleType":
    try:
        import psd_tools
    except ImportError:
        raise InputError("layered files need the extra 'psd': pip install 'diffharmon[psd]'") from None
    return psd_tools
