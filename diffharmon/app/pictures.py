"""Pictures for the page: previews of photos, masks laid over them, and the mask that was painted on one."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from diffharmon import images
from diffharmon.errors import InputError

PAINTED = 1024  # longer side of the picture that is painted on, pixels
SHOWN = 1600
THUMBNAIL = 320
NO_MASK = "paint over the pasted object, or drop its mask as a file"
_VEIL = 0.3  # share of a photo's background that is seen through the veil over it


def preview(
    image: Float[Tensor, "3 h w"], side: int = SHOWN, alpha: Float[Tensor, "1 h w"] | None = None
) -> Image.Image:
    """Return a photo in 8 bits with its longer side fitted to ``side``; what is transparent is white."""
    shown = image if alpha is None else image * alpha + (1 - alpha)
    height, width = shown.shape[-2:]
    scale = min(side / max(height, width), 1.0)
    if scale < 1:
        shown = images.resize(shown, (max(round(height * scale), 1), max(round(width * scale), 1)), "lanczos")
    return Image.fromarray(images.to_uint8(shown).permute(1, 2, 0).contiguous().numpy())


def veiled(image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], side: int = PAINTED) -> Image.Image:
    """Return a preview in which the background lies under a white veil, to check a mask by eye."""
    photo, cover = (np.asarray(preview(part, side), np.float32) for part in (image, mask.expand(3, -1, -1)))
    share = _VEIL + (1 - _VEIL) * cover / 255
    return Image.fromarray((photo * share + 255 * (1 - share)).round().astype(np.uint8))


def strokes(painting: Any) -> list[np.ndarray]:
    """Return where paint is, for each layer of the editor's value that has some."""
    layers = [np.asarray(layer)[..., 3] > 0 for layer in (painting or {}).get("layers") or [] if layer is not None]
    return [layer for layer in layers if layer.any()]


def write_painted(painting: Any, size: tuple[int, int], path: Path) -> None:
    """Write what was painted on a preview as a mask file of the photo's size; a preview's pixel makes a soft border.

    Args:
        painting: The editor's value: ``layers`` are pictures whose alpha is the paint.
        size: Height and width of the photo.
        path: The mask file, PNG.

    Raises:
        InputError: Nothing was painted.
    """
    layers = strokes(painting)
    if not layers:
        raise InputError(NO_MASK)
    cover = torch.from_numpy(np.any(layers, axis=0).astype(np.float32))[None]
    images.write_image(path, images.resize(cover, size, "bilinear"))
