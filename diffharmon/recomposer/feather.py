"""Pasting with a soft border."""

import math
from typing import Annotated, ClassVar

import cv2
import numpy as np
import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from diffharmon.images import MASK_THRESHOLD
from diffharmon.recomposer.resizing import enlarge
from diffharmon.types import Composite, Edited


class Feather:
    """Pastes the edited image with a border that fades inwards, so that the background stays as it was.

    Args:
        radius: Width of the fading band relative to the diameter of a disc of the mask's area.
    """

    reads_source: ClassVar[bool] = False

    def __init__(self, radius: Annotated[float, Ge(0), Le(1)] = 0.02) -> None:
        self.radius = radius

    def recompose(
        self, composite: Composite, current: Float[Tensor, "3 h w"], edited: Edited
    ) -> Float[Tensor, "3 h w"]:
        """Return the photo with the edited foreground; what fades in is ``current``, the background the composite's."""
        height, width = composite.image.shape[-2:]
        picture = enlarge(edited.edited.to(current), (height, width)).clamp(0, 1)
        weight = (composite.mask * _fade(composite.mask, self.radius)).to(current)
        blended = (current + weight * (picture - current)).clamp(0, 1)
        return torch.where(composite.mask > 0, blended, composite.image)


def _fade(mask: Float[Tensor, "1 h w"], radius: float) -> Float[Tensor, "1 h w"]:
    """Rise smoothly from the mask's border inwards; the frame of the photo is no border."""
    inside = (mask[0] > MASK_THRESHOLD).cpu().numpy().astype(np.uint8)
    width = radius * 2 * math.sqrt(inside.sum() / math.pi)
    if width < 1 or inside.all():
        return torch.ones_like(mask)
    # A border pixel has distance 1, half a pixel from the border itself.
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - 0.5
    share = np.clip(distance / width, 0, 1)
    return torch.from_numpy((share * share * (3 - 2 * share)).astype(np.float32))[None].to(mask)
