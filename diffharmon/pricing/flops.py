"""What one call of a model's part computes and holds, counted on tensors without data: no weights are loaded."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from diffharmon.pricing.counting import Call
from diffharmon.pricing.networks import FAMILIES, ends_as_the_stand_in, text_bytes
from diffharmon.pricing.networks import call as call_network
from diffharmon.pricing.shapes import MODELS

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Work:
    """What a call computes and holds.

    Attributes:
        flops: Floating-point operations, backward ones included; a multiplication with its addition is two.
        peak: Bytes held at the highest point, weights left out.
        kept: Bytes that wait for the backward pass.
    """

    flops: int
    peak: int
    kept: int = 0


class Ended(Exception):
    """The call ends in this block."""


class WorkMode(TorchDispatchMode):
    """Adds up FLOPs and follows the bytes of all tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.alive = self.peak = 0
        self.seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count it; one that is made of others is counted as those."""
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                made = func.decompose(*args, **kwargs)
                if made is not NotImplemented:
                    return made
        output = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **kwargs, out_val=output)
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self.hold(tensor.untyped_storage())
        return output

    def hold(self, storage: Any) -> None:
        """Count a new storage until it is freed."""
        if storage in self.seen:
            return
        self.seen.add(storage)
        size = storage.nbytes()
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self.free, size)

    def free(self, size: int) -> None:
        """Take a storage's bytes off."""
        self.alive -= size


class Model:
    """A diffusion model without weights.

    Args:
        settings: Settings of the network.
        vae: Settings of the autoencoder.
        size: Side of the canvas in pixels.
        dtype: Precision of the network; the autoencoder is in float32.
        checkpointing: Whether activations are computed again for the backward pass instead of kept.
        kind: Class of the network, one of ``FAMILIES``.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        vae: Mapping[str, Any],
        size: int,
        dtype: str,
        checkpointing: bool = False,
        kind: Any = UNet2DConditionModel,
    ) -> None:
        with torch.device("meta"):
            self.network = kind.from_config(dict(settings)).to(DTYPES[dtype])
            self.vae = AutoencoderKL.from_config(dict(vae))
        for module in (self.network, self.vae):
            module.requires_grad_(False).eval()
            if checkpointing:
                module.enable_gradient_checkpointing()
        self.checkpointing = checkpointing
        self.size, self.dtype = size, DTYPES[dtype]
        self.cells = size // 2 ** (len(self.vae.config.block_out_channels) - 1)

    def weights(self, offload: str = "none", gradient: bool = False, text: bool = False) -> int:
        """Bytes of the weights that stay on the device while a stage is under way.

        Args:
            offload: As `backbone.offload`.
            gradient: Whether gradients flow through the network, which then holds weights that were streamed, unless
                its activations are computed again.
            text: Whether gradients flow through the text encoder, which then holds its weights.
        """
        network, vae = (sum(p.nbytes for p in module.parameters()) for module in (self.network, self.vae))
        total = vae
        if offload != "all" or (gradient and not self.checkpointing):
            total += network
        if offload == "none" or text:
            total += text_bytes(self.network, self.dtype.itemsize)
        return total

    @cache  # noqa: B019 (a model lives as long as the command)
    def work(self, call: Call) -> Work:
        """Count one call, and its backward pass where gradients flow."""
        mode = WorkMode()
        with torch.set_grad_enabled(call.gradient), mode:
            try:
                output = self.run(call)
            except Ended as ended:
                output = ended.args[0]
            kept = mode.alive if call.gradient else 0
            if call.gradient:
                output.sum().backward()
        return Work(mode.flops, mode.peak, kept)

    def run(self, call: Call) -> Tensor:
        """Run one call on tensors without data."""
        channels = self.vae.config.latent_channels
        if call.part == "encoder":
            return self.vae.encoder(torch.empty(call.rows, 3, self.size, self.size, device="meta"))
        cells = self.cells // 2 if call.half else self.cells
        latent = torch.empty(call.rows, channels, cells, cells, device="meta", requires_grad=call.gradient)
        if call.part == "decoder":
            return self.vae.decoder(latent)
        handle = None
        if call.cut and ends_as_the_stand_in(self.network):  # elsewhere the whole call is counted
            handle = self.network.get_submodule(call.cut).register_forward_hook(end_here)
        try:
            # What is computed from the latent alone needs no gradient: only the text's is asked for.
            return call_network(self.network, latent.detach().to(self.dtype), call.gradient)
        finally:
            if handle is not None:
                handle.remove()


def end_here(module: nn.Module, args: tuple, output: Any) -> None:
    """End a call after a block."""
    raise Ended(output[0] if isinstance(output, tuple) else output)


@cache
def model_of(
    path: str, size: int, dtype: str, checkpointing: bool = False, family: str = "StableDiffusion"
) -> Model | None:
    """Return a model without weights: by the settings in its folder, or those known of a hub id; else None.

    Args:
        path: Folder or hub id.
        size: Side of the canvas in pixels.
        dtype: Precision of the network.
        checkpointing: Whether activations are computed again for the backward pass instead of kept.
        family: Name of the backbone's class.
    """
    kind, folder = FAMILIES[family]
    if Path(path).is_dir():
        network, vae = kind.load_config(path, subfolder=folder), AutoencoderKL.load_config(path, subfolder="vae")
        return Model(network, vae, size, dtype, checkpointing, kind)
    return Model(*MODELS[path], size, dtype, checkpointing, kind) if path in MODELS else None


def model_for(backbone: DictConfig) -> Model | None:
    """Return the model of a configuration's backbone; None where its sizes are not known here."""
    family = str(backbone.get("_target_", "")).rpartition(".")[2]
    if family not in FAMILIES:
        return None
    checkpointing = bool(backbone.gradient_checkpointing)
    return model_of(str(backbone.path), int(backbone.size), str(backbone.dtype), checkpointing, family)
