"""What single calls take on a device at Stable Diffusion 2's size: seconds, TFLOP/s, and peak memory against the count.

    python experiments/cost/device.py [--device cuda] [--compile] [--small] [--repeat 5]

Weights are random and made on the device; nothing is downloaded. Prints a Markdown table. Attention is PyTorch's fused
kernel (SDPA) throughout. `--small` takes a toy of a few channels, to see that the script runs.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch

from diffharmon.pricing.counting import Call
from diffharmon.pricing.flops import DTYPES, Model
from diffharmon.pricing.shapes import TWO, VAE

SMALL: dict[str, Any] = {
    "block_out_channels": (32, 32, 32, 32),
    "cross_attention_dim": 32,
    "attention_head_dim": 8,
}
SMALL_VAE: dict[str, Any] = {**VAE, "block_out_channels": (32, 32, 32, 32)}


@dataclass(frozen=True)
class Setting:
    """How calls are made."""

    dtype: str
    channels_last: bool = False
    compiled: bool = False
    checkpointing: bool = False

    def __str__(self) -> str:
        """Name it in a table."""
        extra = {"channels last": self.channels_last, "compiled": self.compiled, "checkpointing": self.checkpointing}
        return ", ".join([self.dtype, *(name for name, chosen in extra.items() if chosen)])


CALLS = {
    "network, 1 row": Call("network", 1),
    "network, 4 rows": Call("network", 4),
    "network, 1 row, gradient": Call("network", 1, gradient=True),
    "decoder, 1 row": Call("decoder", 1),
    "decoder, 1 row, gradient": Call("decoder", 1, gradient=True),
}


def default_device() -> str:
    """Return the accelerator that is there, or the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if found is None else found.type


class OnDevice:
    """The model's parts with random weights on a device.

    Args:
        shape: Settings of network and autoencoder.
        size: Side of the canvas in pixels.
        setting: How they are called.
        device: Where they lie.
    """

    def __init__(self, shape: tuple[dict, dict], size: int, setting: Setting, device: torch.device) -> None:
        counted = Model(*shape, size, setting.dtype, setting.checkpointing)
        layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        self.parts = {"network": counted.network, "decoder": counted.vae}
        for part in self.parts.values():
            part.to_empty(device=device)
            for module in part.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
            part.to(memory_format=layout)
        self.device, self.size, self.dtype = device, counted.cells, DTYPES[setting.dtype]
        self.width = counted.width
        self.network = torch.compile(self.parts["network"]) if setting.compiled else self.parts["network"]

    def call(self, call: Call) -> None:
        """Make one call, and its backward pass where gradients are wanted."""
        with torch.set_grad_enabled(call.gradient):
            latent = torch.randn(call.rows, 4, self.size, self.size, device=self.device)
            if call.part == "decoder":
                output = self.parts["decoder"].decode(latent.requires_grad_(call.gradient)).sample
            else:
                text = torch.randn(call.rows, 77, self.width, device=self.device, dtype=self.dtype)
                text.requires_grad_(call.gradient)
                time_ = torch.tensor(500, device=self.device)
                output = self.network(latent.to(self.dtype), time_, encoder_hidden_states=text).sample
            if call.gradient:
                output.float().square().mean().backward()


def measure(model: OnDevice, call: Call, repeat: int) -> tuple[float, int | None]:
    """Return the median seconds of a call and the bytes at its highest point, weights left out (CUDA only)."""
    cuda = model.device.type == "cuda"
    model.call(call)  # kernels are chosen and compiled
    wait(model.device)
    held = torch.cuda.memory_allocated() if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        model.call(call)
        wait(model.device)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds), torch.cuda.max_memory_allocated() - held if cuda else None


def wait(device: torch.device) -> None:
    """Wait for the work queued on a device."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    device = torch.device(options.device)
    shape, size = ((SMALL, SMALL_VAE), 128) if options.small else ((TWO, VAE), 512)
    settings = [Setting(dtype) for dtype in ("float32", "bfloat16", "float16")]
    settings += [Setting("bfloat16", channels_last=True), Setting("bfloat16", checkpointing=True)]
    settings += [Setting("bfloat16", compiled=True)] if options.compile else []
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}\n")
    print("| setting | call | seconds | TFLOP/s | peak GiB | counted GiB |\n|---|---|---|---|---|---|")
    for setting in settings:
        counted = Model(*shape, size, setting.dtype, setting.checkpointing)
        model = OnDevice(shape, size, setting, device)
        for title, call in CALLS.items():
            work, (seconds, peak) = counted.work(call), measure(model, call, options.repeat)
            held = "–" if peak is None else f"{peak / 2**30:.2f}"
            print(
                f"| {setting} | {title} | {seconds:.4f} | {work.flops / seconds / 1e12:.2f} | {held} "
                f"| {work.peak / 2**30:.2f} |",
                flush=True,
            )
        del model


if __name__ == "__main__":
    main()
