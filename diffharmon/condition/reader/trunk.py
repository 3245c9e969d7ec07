"""EfficientNet-Lite0 (Tan and Le 2019), whose layers see what the readers of light cannot measure."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# Without squeeze and excitation: expansion, kernel, stride, channels in and out.
BLOCKS = (
    (1, 3, 1, 32, 16),
    (6, 3, 2, 16, 24),
    (6, 3, 1, 24, 24),
    (6, 5, 2, 24, 40),
    (6, 5, 1, 40, 40),
    (6, 3, 2, 40, 80),
    (6, 3, 1, 80, 80),
    (6, 3, 1, 80, 80),
    (6, 5, 1, 80, 112),
    (6, 5, 1, 112, 112),
    (6, 5, 1, 112, 112),
    (6, 5, 2, 112, 192),
    (6, 5, 1, 192, 192),
    (6, 5, 1, 192, 192),
    (6, 5, 1, 192, 192),
    (6, 3, 1, 192, 320),
)
STEM_BLOCKS = 3
_DEPTHS = (4, 10, 15)  # blocks after which regions are averaged
DEPTH_CHANNELS = 40 + 112 + 320  # of the three together


class Block(nn.Module):
    """An inverted residual block whose batch normalization is folded into its convolutions."""

    def __init__(self, expansion: int, kernel: int, stride: int, channels: int, out: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == out
        self.expand = nn.Conv2d(channels, hidden, 1) if expansion > 1 else None
        padding = kernel - stride  # as TensorFlow pads, more at the end where it is odd
        self.padding = (padding // 2, padding - padding // 2) * 2 if padding % 2 else None
        self.depth = nn.Conv2d(hidden, hidden, kernel, stride, 0 if self.padding else padding // 2, groups=hidden)
        self.project = nn.Conv2d(hidden, out, 1)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o y x"]:
        """Apply the block."""
        inner = features if self.expand is None else functional.relu6(self.expand(features), inplace=True)
        inner = self.depth(functional.pad(inner, self.padding) if self.padding else inner)
        inner = self.project(functional.relu6(inner, inplace=True))
        return features + inner if self.residual else inner


class Stem(nn.Module):
    """The first layers of EfficientNet-Lite0, which training leaves as they are: 3 x 128 x 128 to 24 x 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, 2)
        self.blocks = nn.ModuleList(Block(*shape) for shape in BLOCKS[:STEM_BLOCKS])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 24 y x"]:
        """Compute the features of RGB images in [0, 1]."""
        features = first_layer(self.conv, image)
        for block in self.blocks:
            features = block(features)
        return features


class DeepTrunk(nn.Module):
    """All blocks as ImageNet trained them, averaged over regions at three depths."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, 2)
        self.blocks = nn.ModuleList(Block(*shape) for shape in BLOCKS)

    def forward(self, image: Float[Tensor, "b 3 s s"], parts: Float[Tensor, "b r s s"]) -> Float[Tensor, "b n"]:
        """Look at RGB images in [0, 1]; returns `DEPTH_CHANNELS` values for each of the regions, depth by depth."""
        features, pooled = first_layer(self.conv, image), []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in _DEPTHS:
                pooled.append(average(features, parts, range(parts.shape[1])))
        return torch.cat(pooled, 1)


def first_layer(convolution: nn.Conv2d, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 32 y x"]:
    """Apply the first convolution to RGB images in [0, 1]."""
    return functional.relu6(convolution(functional.pad((image * 255 - 127) / 128, (0, 1, 0, 1))))


def average(
    features: Float[Tensor, "b c y x"], parts: Float[Tensor, "b r v u"], chosen: Iterable[int]
) -> Float[Tensor, "b n"]:
    """Average features over some of the regions."""
    parts = functional.adaptive_avg_pool2d(parts, features.shape[-1])
    means = []
    for index in chosen:
        weight = parts[:, index : index + 1]
        means.append((features * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3))
    return torch.cat(means, 1)
