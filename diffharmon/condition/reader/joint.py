"""The joint reader: one perceptron that weighs what all networks of the package see of a composite."""

from collections.abc import Sequence

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.network import OUTPUTS, interpret
from diffharmon.condition.reader.trunk import DeepTrunk

_PLAIN = 16  # a kind of evidence with fewer values is not normalized
_CHANGE_SCALE = (10.0, 10.0, 10.0, 0.3, 0.3, 0.3)
_CHANGE = 5  # place of CLIP's reading among the kinds of evidence


class JointNetwork(
    nn.Module, PyTorchModelHubMixin, library_name="diffharmon", tags=["image-harmonization"], license="other"
):
    """Predict a change of light as `ReaderNetwork` does, from `diffharmon.condition.reader.evidence`.

    Every kind of evidence has a linear layer of its own; their sum and a perceptron on the statistics go through a
    common perceptron. Holds the deep trunk too, so that its weights come along. Loads and saves as `config.json` plus
    safetensors.

    Args:
        widths: values of each kind of evidence.
        hidden: width of the perceptrons.
        dropout: share of hidden values dropped in training.
        withheld: share of the evidence's values dropped in training.
    """

    mean: Float[Tensor, " k"]
    std: Float[Tensor, " k"]
    scale: Float[Tensor, "6"]

    def __init__(self, widths: Sequence[int], hidden: int = 192, dropout: float = 0.3, withheld: float = 0.2) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.register_buffer("mean", torch.zeros(statistics.COUNT))
        self.register_buffer("std", torch.ones(statistics.COUNT))
        self.register_buffer("scale", torch.tensor(_CHANGE_SCALE), persistent=False)
        self.deep = DeepTrunk()
        self.kinds = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width) if width >= _PLAIN else nn.Identity(),
                nn.Dropout(withheld),
                nn.Linear(width, hidden),
            )
            for width in self.widths
        )
        self.measure = nn.Sequential(
            nn.Linear(statistics.COUNT, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, hidden)
        )
        last = nn.Linear(hidden, OUTPUTS)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        middle = (nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout))
        self.head = nn.Sequential(nn.GELU(), nn.Dropout(dropout), *middle, last)

    def forward(
        self, measured: Float[Tensor, "b k"], values: Float[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b 6"], Float[Tensor, "b 6"], Float[Tensor, " b"]]:
        """Weigh the evidence; returns what `ReaderNetwork.forward` does."""
        found = self.measure(((measured - self.mean) / self.std).clamp(-5, 5))
        for place, (layers, given) in enumerate(zip(self.kinds, values.split(self.widths, 1), strict=True)):
            found = found + layers(given / self.scale if place == _CHANGE else given)
        return interpret(self.head(found), measured)
