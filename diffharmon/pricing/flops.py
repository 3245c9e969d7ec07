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
from diffharmon.pricing.shapes import TEXT_PARAMETERS, UNETS, VAE

TOKENS = 77
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
    """A Stable Diffusion model without weights.

    Args:
        unet: Settings of the network.
        vae: Settings of the autoencoder.
        size: Side of the canvas in pixels.
        dtype: Precision of the network; the autoencoder is in float32.
        checkpointing: Whether activations are computed again for the backward pass instead of kept.
    """

    def __init__(
        self, unet: Mapping[str, Any], vae: Mapping[str, Any], size: int, dtype: str, checkpointing: bool = False
    ) -> None:
        with torch.device("meta"):
            self.network = UNet2DConditionModel.from_config(dict(unet)).to(DTYPES[dtype])
            self.vae = AutoencoderKL.from_config(dict(vae))
        for module in (self.network, self.vae):
            module.requires_grad_(False).eval()
            if checkpointing:
                module.enable_gradient_checkpointing()
        self.checkpointing = checkpointing
        self.size, self.dtype = size, DTYPES[dtype]
        self.cells = size // 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.width = self.network.config.cross_attention_dim

    def weights(self, offload: str = "none", gradient: bool = False, text: bool = False) -> int:
        """Bytes of the weights that stay on the device while a stage is under way, the text encoder's in float32.

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
            total += 4 * TEXT_PARAMETERS.get(self.width, 0)
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
        text = torch.empty(call.rows, TOKENS, self.width, device="meta", dtype=self.dtype, requires_grad=call.gradient)
        handle = None
        if call.cut:
            handle = self.network.get_submodule(call.cut).register_forward_hook(end_here)
        try:
            # What is computed from the latent alone needs no gradient: only the text's is asked for.
            sample = latent.detach().to(self.dtype)
            timestep = torch.empty((), device="meta")
            return self.network(sample, timestep, encoder_hidden_states=text).sample
        finally:
            if handle is not None:
                handle.remove()


def end_here(module: nn.Module, args: tuple, output: Any) -> None:
    """End a call after a block."""
    raise Ended(output[0] if isinstance(output, tuple) else output)


@cache
def model_of(path: str, size: int, dtype: str, checkpointing: bool = False) -> Model | None:
    """Return a model without weights: by the settings in its folder, or those known of a hub id; else None."""
    if Path(path).is_dir():
        settings = [kind.load_config(path, subfolder=part) for kind, part in FOLDERS]
        return Model(settings[0], settings[1], size, dtype, checkpointing)
    return Model(UNETS[path], VAE, size, dtype, checkpointing) if path in UNETS else None


FOLDERS = ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"))


def model_for(backbone: DictConfig) -> Model | None:
    """Return the model of a configuration's backbone; None where its sizes are not known here."""
    if not str(backbone.get("_target_", "")).endswith(".StableDiffusion"):
        return None
    checkpointing = bool(backbone.gradient_checkpointing)
    return model_of(str(backbone.path), int(backbone.size), str(backbone.dtype), checkpointing)
