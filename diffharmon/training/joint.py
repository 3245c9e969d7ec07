"""Recipe of the joint reader."""

from pathlib import Path

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from diffharmon.condition.reader.evidence import gather
from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.reading import shipped_networks
from diffharmon.training.datamodule import PhotoData
from diffharmon.training.light_reading import LightReadingTraining, Read
from diffharmon.training.reader import adopt_imagenet
from diffharmon.training.schedule import adamw_with_cosine


class JointTraining(LightReadingTraining):
    """Train the joint reader, see `LightReadingTraining`; what it asks and its deep trunk stay as they are.

    Args:
        pretrained: take the deep trunk from EfficientNet-Lite0's ImageNet weights, see `ReaderTraining`.
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
        pretrained: bool = True,
        hidden: int = 192,
        dropout: float = 0.3,
        withheld: float = 0.2,
        learning_rate: float = 1e-3,
        steps: int = 2500,
        deviation: float = 0.02,
        altered: float = 0.5,
        ranking: float = 0.25,
    ) -> None:
        networks = shipped_networks()
        network = JointNetwork(networks.widths, hidden, dropout, withheld)
        super().__init__(network, pretrained, deviation, altered, ranking)
        self.asked = networks  # no module itself, so no part of what is saved
        self.learning_rate, self.steps = learning_rate, steps
        self.network.deep.requires_grad_(False)

    def adopt(self) -> None:
        """Take EfficientNet-Lite0's ImageNet weights, of the training-only packages."""
        adopt_imagenet(self.network.deep.conv, self.network.deep.blocks)

    def prepared(self, both: dict[str, Tensor]) -> dict[str, Tensor]:
        """Ask the networks about every picture."""
        found = gather(both["image"], both["parts"][:, 0], self.asked, self.network.deep)
        return both | {"measured": found.measured.to(both["image"]), "values": found.values.to(both["image"])}

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
