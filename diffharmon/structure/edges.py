"""Edges of the foreground as a structure loss (paper section 3.2, L_Edge), for any edge detector."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

import torch
import torch.nn.functional as functional
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.protocols import EdgeDetector
from diffharmon.types import Composite, StructureGuidance


@dataclass(frozen=True)
class EdgeLoss:
    """Mean squared difference of the foreground's edges in the edited image to those in the photo.

    The difference is masked first and then averaged over the whole frame, as in the public code, so a small foreground
    gives a small loss.

    Args:
        detector: Computes the edge map of an image; differentiable.
        weight: Factor of the loss, >= 0.
        resampling: Filter that brings the photo to the backbone's size before its edges are measured.
    """

    detector: EdgeDetector
    weight: Annotated[float, Ge(0)] = 1.0
    resampling: Literal["lanczos", "bilinear"] = "lanczos"

    def guide(self, composite: Composite, size: tuple[int, int]) -> StructureGuidance:
        """Measure the photo's edges at height and width ``size``, and return the loss that compares with them.

        The loss also takes an image of another size: the photo's edges are then measured at that one, once.
        """

        @cache
        def wanted(height: int, width: int) -> tuple[Tensor, Tensor]:
            size = height, width
            mask = images.binary_mask(composite.mask, size)
            with torch.no_grad():
                return mask, self.target(composite, size) * mask

        def loss(decoded: Float[Tensor, "1 3 h w"]) -> Float[Tensor, ""]:
            mask, target = (value.to(decoded.device) for value in wanted(decoded.shape[-2], decoded.shape[-1]))
            return self.weight * functional.mse_loss(self.edges(decoded.float()) * mask, target)

        wanted(*size)  # what is wrong with the photo or the detector shows here
        return StructureGuidance(losses={"edges": loss})

    def target(self, composite: Composite, size: tuple[int, int]) -> Float[Tensor, "1 c h w"]:
        """Measure the edges of the photo."""
        return self.detector(images.resize(composite.image, size, self.resampling, composite.alpha)[None])

    def edges(self, decoded: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 c h w"]:
        """Measure the edges of an image while it is edited."""
        return self.detector(decoded)
