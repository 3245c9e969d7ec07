"""CIELAB and back, differentiable, for the D65 white of sRGB (IEC 61966-2-1, CIE 15)."""

import torch
from jaxtyping import Float
from torch import Tensor

_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(colours: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Convert sRGB in [0, 1] to L in [0, 100], a and b."""
    linear = torch.where(colours <= 0.04045, colours / 12.92, ((colours.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    ratio = linear @ torch.tensor(_TO_XYZ).to(colours).T / torch.tensor(_WHITE).to(colours)
    x, y, z = torch.where(ratio > 0.008856, ratio.clamp_min(0.008856) ** (1 / 3), 7.787 * ratio + 16 / 116).unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(colours: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Convert CIELAB to sRGB, clipped to [0, 1]."""
    y = (colours[..., 0] + 16) / 116
    root = torch.stack([y + colours[..., 1] / 500, y, y - colours[..., 2] / 200], -1)
    ratio = torch.where(root > 0.2068966, root.clamp_min(0.2) ** 3, (root - 16 / 116) / 7.787)
    inverse = torch.linalg.inv(torch.tensor(_TO_XYZ)).to(colours)
    linear = ((ratio * torch.tensor(_WHITE).to(colours)) @ inverse.T).clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)
