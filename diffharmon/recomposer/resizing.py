"""Bringing the backbone's square back to the photo's size and aspect ratio."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def enlarge(image: Float[Tensor, "c s t"], size: tuple[int, int], mode: str = "bicubic") -> Float[Tensor, "c y x"]:
    """Resize in floating point, antialiased where it shrinks; an image that has the size comes back as it is."""
    if image.shape[-2:] == torch.Size(size):
        return image
    return F.interpolate(image[None], size, mode=mode, align_corners=False, antialias=True)[0]
