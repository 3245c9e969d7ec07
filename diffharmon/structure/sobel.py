"""Sobel edges: the fixed half of the paper's edge loss."""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor


class Sobel:
    """Gradient magnitude of every channel, as kornia defines it.

    Both 3 x 3 Sobel kernels are divided by 8, the sum of their absolute values; the border is replicated.

    Args:
        epsilon: Added under the root, so that the gradient is finite where the image is flat.
    """

    def __init__(self, epsilon: float = 1e-6) -> None:
        self.epsilon = epsilon

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the edges of images of any range; the magnitude scales with it."""
        horizontal = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        kernels = torch.stack([horizontal, horizontal.T]).unsqueeze(1).to(image)
        batch, channels, height, width = image.shape
        padded = functional.pad(image.reshape(batch * channels, 1, height, width), (1, 1, 1, 1), mode="replicate")
        across, down = functional.conv2d(padded, kernels).unbind(dim=1)
        return (across.square() + down.square() + self.epsilon).sqrt().reshape(image.shape)
