"""Edge losses as the public code computes them."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.structure.edges import EdgeLoss
from diffharmon.types import Composite


@dataclass(frozen=True)
class ReferenceEdgeLoss(EdgeLoss):
    """`EdgeLoss` with the public code's deviations (Q2 and Q3 of `diffharmon.reference.quirks`, and `opaque`).

    Args:
        reference_range: Range the photo is brought to before its edges are measured: ``signed`` is [-1, 1], which
            doubles the edges to reach; ``unit`` is [0, 1], that of the decoded image.
        detach: Compute the loss without a gradient, so that it is only reported.
        opaque: Ignore the photo's transparency when it is resized.
    """

    reference_range: Literal["unit", "signed"] = "unit"
    detach: bool = False
    opaque: bool = False

    def target(self, composite: Composite, size: tuple[int, int]) -> Float[Tensor, "1 c h w"]:
        """Measure the edges of the photo in the chosen range."""
        if self.opaque:
            composite = replace(composite, alpha=None)
        if self.reference_range == "unit":
            return super().target(composite, size)
        image = images.resize(composite.image, size, self.resampling, composite.alpha)
        return self.detector(image[None] * 2 - 1)

    def edges(self, decoded: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 c h w"]:
        """Measure the edges of an image while it is edited, without a gradient where asked for."""
        with torch.no_grad() if self.detach else nullcontext():
            return super().edges(decoded)
