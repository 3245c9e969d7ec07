"""Pictures of what a model makes of held-out samples, once an epoch."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor


def tile(images: Float[Tensor, "b 3 h w"], columns: int = 8) -> Float[Tensor, "3 y x"]:
    """Lay equal images out in rows, the last one filled up with white."""
    missing = -len(images) % columns
    images = torch.cat([images, torch.ones(missing, *images.shape[1:])])
    rows = images.view(-1, columns, *images.shape[1:])
    return rows.permute(2, 0, 3, 1, 4).reshape(3, rows.shape[0] * images.shape[2], columns * images.shape[3])


class SampleGrid(Callback):
    """Save the module's `sample_grid` of the first validation batch as PNG, and hand it to a wandb logger if any.

    Args:
        folder: where the pictures go, named by step.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Draw after the first batch."""
        if batch_idx or trainer.sanity_checking:
            return
        grid: Any = pl_module.sample_grid
        picture = tile(grid(batch).detach().float().cpu().clamp(0, 1))
        image = Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())
        self.folder.mkdir(parents=True, exist_ok=True)
        image.save(self.folder / f"step_{trainer.global_step:06d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("samples", [image], step=trainer.global_step)
