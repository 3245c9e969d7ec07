"""What all recipes share: warm-up and cosine decay, weight averages with a ramp, and randomness tied to the step."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def adamw_with_cosine(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    steps: int,
    warmup: int = 100,
    final: float = 0.01,
    weight_decay: float = 0.01,
    beta2: float = 0.98,
) -> OptimizerLRSchedulerConfig:
    """Build AdamW with a linear warm-up and a cosine decay, as `configure_optimizers` returns it.

    Args:
        parameters: what is trained.
        learning_rate: the peak.
        steps: optimizer steps until the end of the decay.
        warmup: optimizer steps of the rise.
        final: share of the peak at the end.
        weight_decay: decoupled decay of every parameter.
        beta2: decay of the second moment.
    """
    optimizer = AdamW(parameters, lr=learning_rate, betas=(0.9, beta2), weight_decay=weight_decay)

    def factor(step: int) -> float:
        progress = min(step / max(steps, 1), 1.0)
        return min(1.0, (step + 1) / warmup) * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))

    scheduler: LRSchedulerConfigType = {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}
    return {"optimizer": optimizer, "lr_scheduler": scheduler}


class RampedAverage(WeightAveraging):
    """Exponential moving average of the weights whose memory grows with the run, so that early weights are forgotten.

    Validation, checkpoints of the best model and the exported weights use the average.

    Args:
        decay: the largest share of the old average that a step keeps.
        ramp: at step s at most (s + 1) / (s + ramp) is kept.
    """

    def __init__(self, decay: float = 0.999, ramp: int = 30) -> None:
        def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            step = int(count)
            if not averaged.is_floating_point():
                return current
            return averaged.lerp(current, 1 - min(decay, (step + 1) / (step + ramp)))

        super().__init__(avg_fn=average)


class SeedEveryStep(Callback):
    """Seed the global generator from the seed and the step, so that a resumed run draws what an unbroken run draws.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed before the training step."""
        torch.manual_seed(self.seed * 1_000_003 + trainer.global_step)
