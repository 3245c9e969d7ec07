"""Sobel edges of the foreground as a structure loss (the fixed half of the paper's edge loss)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import InputError
from diffharmon.types import Composite, StructureGuidance


def sobel(image: Float[Tensor, "b c h w"], epsilon: float = 1e-6) -> Float[Tensor, "b c h w"]:
    """Return the gradient magnitude of every channel, as kornia defines it.

    Both 3 x 3 Sobel kernels are divided by 8, the sum of their absolute values; the border is replicated.

    Args:
        image: Any range; the magnitude scales with it.
        epsilon: Added under the root, so that the gradient is finite where the image is flat.
    """
    horizontal = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack([horizontal, horizontal.T]).unsqueeze(1).to(image)
    batch, channels, height, width = image.shape
    padded = F.pad(image.reshape(batch * channels, 1, height, width), (1, 1, 1, 1), mode="replicate")
    across, down = F.conv2d(padded, kernels).unbind(dim=1)
    return (across.square() + down.square() + epsilon).sqrt().reshape(image.shape)


class Sobel:
    """Mean squared difference of foreground Sobel edges to those of the image (paper section 3.2, L_Edge).

    The difference is masked first and then averaged over the whole frame, as in the reference code, so a small
    foreground gives a small loss.

    Args:
        weight: Factor of the loss.
        reference_range: Range the image is brought to before its edges are measured: ``unit`` is [0, 1], that of the
            decoded image; ``signed`` is [-1, 1], which doubles the edges to reach, as the reference code does.
    """

    def __init__(self, weight: float = 1.0, reference_range: Literal["unit", "signed"] = "unit") -> None:
        if weight < 0:
            raise InputError(f"weight of the Sobel loss is {weight}, expected a number >= 0")
        if reference_range not in ("unit", "signed"):
            raise InputError(f"reference_range is {reference_range!r}, expected 'unit' or 'signed'")
        self.weight = weight
        self.reference_range = reference_range

    def guide(self, composite: Composite, size: int) -> StructureGuidance:
        """Measure the edges of the image, resized with a Lanczos filter to ``size`` x ``size``."""
        image = images.resize(composite.image, (size, size), filter="lanczos", alpha=composite.alpha)
        if self.reference_range == "signed":
            image = image * 2 - 1
        mask = images.binary_mask(composite.mask, (size, size))
        target = sobel(image.unsqueeze(0)) * mask

        def loss(decoded: Float[Tensor, "1 3 s s"]) -> Float[Tensor, ""]:
            edges = sobel(decoded.float()) * mask.to(decoded.device)
            return self.weight * F.mse_loss(edges, target.to(decoded.device))

        return StructureGuidance(losses={"sobel": loss})
