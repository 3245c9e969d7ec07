"""Recipe of the harmony classifier."""

from pathlib import Path

import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import BinaryAUROC
from transformers import CLIPModel

from diffharmon.condition.harmony_network import HarmonyNetwork
from diffharmon.training.datamodule import PhotoData
from diffharmon.training.schedule import adamw_with_cosine


class HarmonyTraining(LightningModule):
    """Train the classifier on pairs of a photo and a composite of it.

    The loss is cross-entropy, a ranking term within the pair, and the estimate of what was done to the foreground.

    Args:
        vision: folder of the CLIP whose vision tower is taken over; null starts from nothing.
        freeze_vision: keep the tower as it is and train the perceptron alone.
        size: side the network works at.
        patch: side of the vision tower's patches.
        width: width of the vision tower.
        layers: layers of the vision tower.
        embedding: dimension of its projection.
        hidden: width of the perceptron.
        learning_rate: peak of AdamW's rate.
        steps: length of the cosine decay in optimizer steps.
        ranking: weight of the ranking term.
        estimation: weight of the estimate of the shifts.
    """

    def __init__(
        self,
        vision: str | None = None,
        freeze_vision: bool = False,
        size: int = 128,
        patch: int = 8,
        width: int = 160,
        layers: int = 4,
        embedding: int = 96,
        hidden: int = 256,
        learning_rate: float = 1e-3,
        steps: int = 2500,
        ranking: float = 0.5,
        estimation: float = 0.5,
    ) -> None:
        super().__init__()
        self.learning_rate, self.steps = learning_rate, steps
        self.ranking, self.estimation = ranking, estimation
        self.network = HarmonyNetwork(size, patch, width, layers, embedding, hidden)
        if vision:
            adopt_tower(self.network, CLIPModel.from_pretrained(vision, use_safetensors=True, dtype=torch.float32))
        self.network.tower.requires_grad_(not freeze_vision)
        self.auc = BinaryAUROC()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Judge both versions of every photo."""
        images = torch.cat([batch["real"], batch["composite"]])
        masks = torch.cat([batch["mask"]] * 2)
        judged = self.network.judge(images, masks).float()
        logit, shift = judged[:, 0], batch["shift"]
        labels = torch.cat([torch.ones(len(shift)), torch.zeros(len(shift))]).to(logit)
        entropy = functional.binary_cross_entropy_with_logits(logit, labels)
        real, composite = logit.chunk(2)
        ranking = functional.softplus(composite - real).mean()
        wanted = torch.cat([torch.zeros_like(shift), shift])
        estimation = functional.smooth_l1_loss(judged[:, 1:], wanted, beta=0.3)
        self.log_dict({"train/entropy": entropy, "train/estimation": estimation}, prog_bar=True)
        return entropy + self.ranking * ranking + self.estimation * estimation

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the area under the ROC curve and the share of pairs in the right order, on unseen photos."""
        real, composite = (self.network(batch[name], batch["mask"]) for name in ("real", "composite"))
        labels = torch.cat([torch.ones(len(real)), torch.zeros(len(real))]).int().to(real.device)
        self.auc.update(torch.cat([real, composite]).float(), labels)
        self.log("val/auc", self.auc, prog_bar=True, on_epoch=True, on_step=False)
        self.log("val/pairs", (real > composite).float().mean(), batch_size=len(real))

    def sample_grid(self, batch: dict[str, Tensor]) -> Float[Tensor, "b 3 h w"]:
        """Put photos above their composites above the masks."""
        masks = batch["mask"][:8].expand(-1, 3, -1, -1)
        return torch.cat([batch["real"][:8], batch["composite"][:8], masks])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and cosine decay."""
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        return adamw_with_cosine(trained, self.learning_rate, self.steps, weight_decay=0.1, beta2=0.999)

    def load(self, folder: Path) -> None:
        """Take over the weights of an exported network."""
        self.network = HarmonyNetwork.from_pretrained(folder, strict=True)

    def export(self, folder: Path, data: PhotoData) -> None:
        """Write `config.json` and `model.safetensors`."""
        self.network.save_pretrained(folder)


def adopt_tower(network: HarmonyNetwork, clip: CLIPModel) -> None:
    """Copy the vision tower of a CLIP of the same shape.

    Raises:
        ValueError: when the shapes differ.
    """
    weights = {f"vision_model.{name}": value for name, value in clip.vision_model.state_dict().items()}
    weights["visual_projection.weight"] = clip.visual_projection.weight
    try:
        network.tower.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the CLIP's vision tower does not fit the harmony network: {error}") from error
