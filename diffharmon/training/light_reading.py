"""What training a reader of light has in common: losses on pairs of a composite and its photo, and what is measured."""

from itertools import pairwise

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchmetrics.classification import BinaryAUROC

from diffharmon.condition.cielab import lab_to_rgb, rgb_to_lab
from diffharmon.condition.reader import statistics

Read = tuple[Tensor, Tensor, Tensor]
"""Change (b x 6), logarithm of its standard deviations (b x 6) and logit of having been altered (b)."""

_MEASURED = 16  # batches from which mean and spread of the statistics are taken
_FLOOR = 2e-4  # squared error on [0, 1], 37 dB: what lies below counts for little
_BANDS = (0.0, 12.0, 16.0, 20.0, 26.0, 40.0)  # dB of a composite's foreground PSNR
_UNTOUCHED_WEIGHT = 0.04  # there are as many photos as composites
_HARMONIOUS_WEIGHT, _PATIENCE = 0.3, 6.0
_CHROMA = 1.3  # weight of a and b when differences of colour are compared


class LightReadingTraining(LightningModule):
    """Train a network on pairs of a composite and its photo: the logarithm of the error its change leaves.

    Minimizing the expected logarithm maximizes the expected gain in dB, so an uncertain reading is shrunk as far as
    pays. Composites that look less harmonious than the photo they were made from count up to four times as much as
    others: what is published, and what a user wants corrected, is of that kind. Further terms train the predicted
    deviation (Gaussian log-likelihood of what the change leaves; it does not move the change) and the logit of having
    been altered, by cross-entropy and by the order within a pair.

    Args:
        network: What is trained.
        pretrained: Take what `adopt` takes.
        deviation: weight of the log-likelihood.
        altered: weight of the cross-entropy.
        ranking: weight of the order within a pair.
    """

    def __init__(self, network: nn.Module, pretrained: bool, deviation: float, altered: float, ranking: float) -> None:
        super().__init__()
        self.network, self.pretrained = network, pretrained
        self.deviation, self.altered, self.ranking = deviation, altered, ranking
        self.auc = BinaryAUROC()
        self.gains: list[Float[Tensor, "b 2"]] = []

    def adopt(self) -> None:
        """Take over pretrained weights, before the first step of a new run."""
        raise TypeError(f"{type(self).__name__} has no pretrained weights to take")

    def setup(self, stage: str) -> None:
        """Before the first step take the pretrained weights, and measure mean and spread of the statistics."""
        if stage == "fit" and not self.network.mean.any():  # type: ignore[operator]
            if self.pretrained:
                self.adopt()
            loader: DataLoader[dict[str, Tensor]] = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
            batches = (batch["measured"] for batch, _ in zip(loader, range(_MEASURED), strict=False))
            measured = torch.cat([batch.flatten(0, 1) for batch in batches])
            self.network.mean.copy_(measured.mean(0))  # type: ignore[operator]
            self.network.std.copy_(measured.std(0) + 1e-3)  # type: ignore[operator]

    def read(self, both: dict[str, Tensor]) -> Read:
        """Read the light of a batch of `unpaired`."""
        raise TypeError(f"{type(self).__name__} reads nothing of its own")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Read both pictures of every pair and measure what the changes leave."""
        both = unpaired(batch)
        change, deviation, logit = self.read(both)
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
        change, _, logit = self.read(both)
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


def unpaired(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Lay a batch of pairs out as composite, photo, composite, photo, ..., with `altered` to tell them apart."""
    before = torch.stack([batch["before"], batch["after"]], 1)
    seen = {name: batch[name].flatten(0, 1) for name in ("image", "measured", "values") if name in batch}
    shared = {name: batch[name].repeat_interleave(2, 0) for name in ("parts", "after") if name in batch}
    altered = batch["measured"].new_tensor((1.0, 0.0)).repeat(len(before))
    return seen | shared | {"before": before.flatten(0, 1), "altered": altered}


def mapped(batch: dict[str, Tensor], change: Float[Tensor, "b 6"]) -> Float[Tensor, "b n 3"]:
    """Return the foreground's colours under a change of light."""
    centre = statistics.foreground_mean(batch["measured"])[:, None]
    lab = rgb_to_lab(batch["before"])
    return lab_to_rgb((lab - centre) * change[:, None, 3:].exp() + centre + change[:, None, :3])


def errors(batch: dict[str, Tensor], change: Float[Tensor, "b 6"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Return the foreground's mean squared error under a change of light, and without it."""
    colours = mapped(batch, change), batch["before"]
    return tuple((each - batch["after"]).square().mean((1, 2)) for each in colours)  # type: ignore[return-value]


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
