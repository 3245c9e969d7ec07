"""Applying a change of light to colours and images."""

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.cielab import lab_to_rgb, rgb_to_lab
from diffharmon.types.light import LightChange

_CHUNK = 1 << 19  # colours worked on at a time, which bounds the memory


def change_colours(change: LightChange, colours: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Map sRGB colours in [0, 1]; what leaves the gamut is clipped."""
    centre, shift, factor = (value.to(colours) for value in (change.centre, change.shift, change.log_spread.exp()))
    parts = [lab_to_rgb((rgb_to_lab(part) - centre) * factor + centre + shift) for part in colours.split(_CHUNK)]
    return torch.cat(parts)


def change_image(
    change: LightChange, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"]
) -> Float[Tensor, "3 h w"]:
    """Map the colours of an RGB image in [0, 1] wherever the mask is above zero; elsewhere it stays as it is."""
    inside = mask[0] > 0
    result = image.clone()
    result[:, inside] = change_colours(change, image[:, inside].T).T
    return result
