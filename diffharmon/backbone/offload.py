"""Weights that rest in the machine's memory and come to the device layer by layer, each for its own call."""

from typing import Literal

import torch
from accelerate import cpu_offload
from accelerate.hooks import remove_hook_from_submodules
from torch import nn

Offload = Literal["none", "text", "all"]


def streamed_parts(model: nn.Module, offload: Offload) -> tuple[str, ...]:
    """Return the names of a model's parts whose weights do not stay on the device."""
    wanted = {"none": (), "text": ("text_encoder",), "all": ("text_encoder", "network")}[offload]
    return tuple(name for name, _ in model.named_children() if name.startswith(wanted))


def stream(part: nn.Module, device: torch.device) -> None:
    """Let every layer of a part bring its weights to a device for its call, and take them off again.

    Where gradients flow through a layer, autograd holds its weights there until the backward pass.
    """
    settle(part)
    cpu_offload(part, execution_device=device)


def settle(part: nn.Module) -> None:
    """Put the weights of a part back into it, where they came from."""
    remove_hook_from_submodules(part)
