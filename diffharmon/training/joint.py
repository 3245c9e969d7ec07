"""Recipe of the joint reader."""

from pathlib import Path

import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.reading import shipped_networks, shipped_trunk
from diffharmon.training.datamodule import PhotoData
from diffharmon.training.light_reading import LightReadingTraining, Read, mapped, unpaired
from diffharmon.training.schedule import adamw_with_cosine

_SWATCH = (12, 16)  # the colours of a foreground, laid out as a picture


class JointTraining(LightReadingTraining):
    """Train the joint reader on evidence that was gathered ahead, see `LightReadingTraining`.

    What it asks and its deep trunk, EfficientNet-Lite0 as ImageNet trained it, stay as they are shipped.

    Args:
        hidden: width of its perceptrons.
        dropout: share of hidden values dropped.
        withheld: share of the evidence's values dropped.
        learning_rate: peak of AdamW's rate.
        steps: length of the cosine decay in optimizer steps.
        deviation: weight of the log-likelihood.
        altered: weight of the cross-entropy.
        ranking: weight of the order within a pair.
    """

    network: JointNetwork

    def __init__(
        self,
        hidden: int = 192,
        dropout: float = 0.3,
        withheld: float = 0.2,
        learning_rate: float = 1e-3,
        steps: int = 2400,
        deviation: float = 0.02,
        altered: float = 0.5,
        ranking: float = 0.25,
    ) -> None:
        network = JointNetwork(shipped_networks().widths, hidden, dropout, withheld)
        network.deep = shipped_trunk()
        super().__init__(network, False, deviation, altered, ranking)
        self.learning_rate, self.steps = learning_rate, steps

    def read(self, both: dict[str, Tensor]) -> Read:
        """Weigh the evidence."""
        return self.network(both["measured"], both["values"])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine decay."""
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return adamw_with_cosine(trained, self.learning_rate, self.steps, weight_decay=0.05)

    def load(self, folder: Path) -> None:
        """Take over the weights of an exported network."""
        self.network = JointNetwork.from_pretrained(folder, strict=True)
        self.network.deep.requires_grad_(False)

    def export(self, folder: Path, data: PhotoData) -> None:
        """Write `config.json` and `model.safetensors`, in half precision."""
        self.network.half().save_pretrained(folder)

    def sample_grid(self, batch: dict[str, Tensor]) -> Float[Tensor, "b 3 h w"]:
        """Put colours of eight foregrounds above what they are read to be, and what they really are."""
        both = unpaired({name: values[:8] for name, values in batch.items()})
        read = mapped(both, self.read(both)[0])
        rows = [colours[::2].unflatten(1, _SWATCH) for colours in (both["before"], read, both["after"])]
        return torch.cat(rows).permute(0, 3, 1, 2)
