"""Recipe of the joint reader."""

from pathlib import Path

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from diffharmon.condition.reader.evidence import gather
from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.reading import shipped_networks
from diffharmon.training.datamodule import PhotoData
from diffharmon.training.light_reading import LightReadingTraining, Read, unpaired
from diffharmon.training.reader import adopt_imagenet
from diffharmon.training.schedule import adamw_with_cosine

_MEASURED = 16  # batches from which mean and spread of the statistics are taken


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
        super().__init__(JointNetwork(networks.widths, hidden, dropout, withheld), deviation, altered, ranking)
        self.asked = networks  # no module itself, so no part of what is saved
        self.pretrained, self.learning_rate, self.steps = pretrained, learning_rate, steps
        self.network.deep.requires_grad_(False)

    def setup(self, stage: str) -> None:
        """Before the first step take the pretrained trunk, and measure mean and spread of the statistics."""
        if stage == "fit" and not self.network.mean.any():
            if self.pretrained:
                adopt_imagenet(self.network.deep.conv, self.network.deep.blocks)
            loader: DataLoader[dict[str, Tensor]] = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
            batches = (unpaired(batch) for batch, _ in zip(loader, range(_MEASURED), strict=False))
            measured = torch.cat([self.prepared(batch)["measured"] for batch in batches])
            self.network.mean.copy_(measured.mean(0))
            self.network.std.copy_(measured.std(0) + 1e-3)

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
