"""The network that reads the light: convolutional evidence and colour statistics in, a change of light out."""

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.regions import REGIONS

# EfficientNet-Lite0 (Tan and Le 2019, without squeeze and excitation): expansion, kernel, stride, channels in and out.
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
)
STEM_BLOCKS = 3
_POOLED = (4, 10)  # blocks after which foreground, near and far background are averaged
_FREE_SCALE = (8.0, 5.0, 6.0, 0.3, 0.3, 0.3)
_DEVIATION = (2.3, 1.6, 1.8, -1.2, -1.2, -1.2)  # logarithm of the deviations where the network gives zero
_LARGEST_SHIFT, _LARGEST_SPREAD = 70.0, 1.5
_OUTPUTS = 19  # trust in the near background (6), free change (6), log-deviation (6), logit of having been changed


class Block(nn.Module):
    """An inverted residual block whose batch normalization is folded into its convolutions."""

    def __init__(self, expansion: int, kernel: int, stride: int, channels: int, out: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == out
        self.expand = nn.Conv2d(channels, hidden, 1) if expansion > 1 else None
        self.depth = nn.Conv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, out, 1)
        padding = kernel - stride
        self.padding = (padding // 2, padding - padding // 2) * 2

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o y x"]:
        """Apply the block."""
        inner = features if self.expand is None else functional.relu6(self.expand(features))
        inner = functional.relu6(self.depth(functional.pad(inner, self.padding)))
        inner = self.project(inner)
        return features + inner if self.residual else inner


class Stem(nn.Module):
    """The first layers of EfficientNet-Lite0, which training leaves as they are: 3 x 128 x 128 to 24 x 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, 2)
        self.blocks = nn.ModuleList(Block(*shape) for shape in BLOCKS[:STEM_BLOCKS])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 24 y x"]:
        """Compute the features of RGB images in [0, 1]."""
        features = functional.relu6(self.conv(functional.pad((image * 255 - 127) / 128, (0, 1, 0, 1))))
        for block in self.blocks:
            features = block(features)
        return features


class ReaderNetwork(
    nn.Module, PyTorchModelHubMixin, library_name="diffharmon", tags=["image-harmonization"], license="other"
):
    """Predict which change of light would make a foreground fit its surroundings.

    A convolutional trunk, into which the regions are injected after its stem, is averaged over foreground, near and far
    background at three depths and added to a perceptron on the regions' colour statistics. The change is a trusted
    share of the way to the near background's mean and spread, one share per number, plus a free part; so the network
    starts from a rule that is strong by itself. Also predicted: the standard deviation of what is left, and whether
    the foreground was changed at all. Loads and saves as `config.json` plus safetensors.

    Args:
        size: side in pixels of the square it looks at.
        hidden: width of the perceptrons.
        dropout: share of hidden values dropped in training.
    """

    mean: Float[Tensor, " k"]
    std: Float[Tensor, " k"]

    def __init__(self, size: int = 128, hidden: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.zeros(statistics.COUNT))
        self.register_buffer("std", torch.ones(statistics.COUNT))
        self.stem = Stem()
        self.inject = nn.Conv2d(len(REGIONS), 24, 1)
        self.blocks = nn.ModuleList(Block(*shape) for shape in BLOCKS[STEM_BLOCKS:])
        width = 2 * 24 + 3 * (40 + 112)
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, hidden)
        self.measure = nn.Sequential(
            nn.Linear(statistics.COUNT, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, hidden)
        )
        self.head = nn.Sequential(
            nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, _OUTPUTS)
        )
        for layer in (self.inject, self.head[-1]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, image: Float[Tensor, "b 3 s s"], parts: Float[Tensor, "b 5 s s"], measured: Float[Tensor, "b k"]
    ) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 6"], Float[Tensor, " b"]]:
        """Read the light.

        Args:
            image: RGB in [0, 1].
            parts: The regions of `diffharmon.condition.reader.regions`, as zeros and ones.
            measured: Their statistics, of `diffharmon.condition.reader.statistics`.

        Returns:
            Shift and log-spread in CIELAB, the logarithm of their standard deviations, and the logit of the foreground
            having been changed.
        """
        return self.read(self.stem(image), functional.adaptive_avg_pool2d(parts, image.shape[-1] // 4), measured)

    def read(
        self, features: Float[Tensor, "b 24 y x"], parts: Float[Tensor, "b 5 y x"], measured: Float[Tensor, "b k"]
    ) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 6"], Float[Tensor, " b"]]:
        """Read the light from the stem's features, as `forward` does from pixels."""
        pooled = [_average(features, parts, (0, 3))]
        trunk = features + self.inject(parts)
        for index, block in enumerate(self.blocks, STEM_BLOCKS):
            trunk = block(trunk)
            if index in _POOLED:
                pooled.append(_average(trunk, parts, (0, 3, 4)))
        evidence = self.project(self.norm(torch.cat(pooled, 1)))
        raw = self.head(evidence + self.measure(((measured - self.mean) / self.std).clamp(-5, 5)))
        trust = torch.sigmoid(raw[:, :6] - 0.4)
        change = trust * statistics.near_difference(measured) + raw[:, 6:12] * raw.new_tensor(_FREE_SCALE)
        shift = change[:, :3].clamp(-_LARGEST_SHIFT, _LARGEST_SHIFT)
        spread = change[:, 3:].clamp(-_LARGEST_SPREAD, _LARGEST_SPREAD)
        return torch.cat([shift, spread], 1), raw[:, 12:18] + raw.new_tensor(_DEVIATION), raw[:, 18]


def _average(
    features: Float[Tensor, "b c y x"], parts: Float[Tensor, "b 5 v u"], chosen: tuple[int, ...]
) -> Float[Tensor, "b n"]:
    """Average features over some of the regions."""
    parts = functional.adaptive_avg_pool2d(parts, features.shape[-1])
    means = []
    for index in chosen:
        weight = parts[:, index : index + 1]
        means.append((features * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3))
    return torch.cat(means, 1)
