"""The network that reads the light: convolutional evidence and colour statistics in, a change of light out."""

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.regions import REGIONS
from diffharmon.condition.reader.trunk import BLOCKS, STEM_BLOCKS, Block, Stem, average

_READ_BLOCKS = 11
_POOLED = (4, 10)  # blocks after which foreground, near and far background are averaged
EVIDENCE = 2 * 24 + 3 * (40 + 112)
_FREE_SCALE = (8.0, 5.0, 6.0, 0.3, 0.3, 0.3)
_DEVIATION = (2.3, 1.6, 1.8, -1.2, -1.2, -1.2)  # logarithm of the deviations where the network gives zero
_LARGEST_SHIFT, _LARGEST_SPREAD = 70.0, 1.5
OUTPUTS = 19  # trust in the near background (6), free change (6), log-deviation (6), logit of having been changed


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
        self.blocks = nn.ModuleList(Block(*shape) for shape in BLOCKS[STEM_BLOCKS:_READ_BLOCKS])
        self.norm, self.project = nn.LayerNorm(EVIDENCE), nn.Linear(EVIDENCE, hidden)
        self.measure = nn.Sequential(
            nn.Linear(statistics.COUNT, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, hidden)
        )
        self.head = nn.Sequential(
            nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, OUTPUTS)
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
        return self.weigh(self._look(features, parts), measured)

    def evidence(self, image: Float[Tensor, "b 3 s s"], parts: Float[Tensor, "b 5 s s"]) -> Float[Tensor, "b n"]:
        """Return the trunk's `EVIDENCE` averages over foreground and backgrounds."""
        return self._look(self.stem(image), functional.adaptive_avg_pool2d(parts, image.shape[-1] // 4))

    def weigh(
        self, evidence: Float[Tensor, "b n"], measured: Float[Tensor, "b k"]
    ) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 6"], Float[Tensor, " b"]]:
        """Read the light from what `evidence` returns, as `forward` does from pixels."""
        raw = self.head(
            self.project(self.norm(evidence)) + self.measure(((measured - self.mean) / self.std).clamp(-5, 5))
        )
        return interpret(raw, measured)

    def _look(self, features: Float[Tensor, "b 24 y x"], parts: Float[Tensor, "b 5 y x"]) -> Float[Tensor, "b n"]:
        pooled = [average(features, parts, (0, 3))]
        trunk = features + self.inject(parts)
        for index, block in enumerate(self.blocks, STEM_BLOCKS):
            trunk = block(trunk)
            if index in _POOLED:
                pooled.append(average(trunk, parts, (0, 3, 4)))
        return torch.cat(pooled, 1)


def interpret(
    raw: Float[Tensor, "b 19"], measured: Float[Tensor, "b k"]
) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 6"], Float[Tensor, " b"]]:
    """Return change, logarithm of its standard deviations and logit that a perceptron's ``OUTPUTS`` stand for."""
    trust = torch.sigmoid(raw[:, :6] - 0.4)
    change = trust * statistics.near_difference(measured) + raw[:, 6:12] * raw.new_tensor(_FREE_SCALE)
    shift = change[:, :3].clamp(-_LARGEST_SHIFT, _LARGEST_SHIFT)
    spread = change[:, 3:].clamp(-_LARGEST_SPREAD, _LARGEST_SPREAD)
    return torch.cat([shift, spread], 1), raw[:, 12:18] + raw.new_tensor(_DEVIATION), raw[:, 18]
