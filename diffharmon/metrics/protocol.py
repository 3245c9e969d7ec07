"""How images are prepared before they are measured: what a table has to state."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from diffharmon.errors import InputError
from diffharmon.images import Filter, from_uint8, resize, to_uint8
from diffharmon.metrics.pixels import (
    PEAK,
    Image,
    Mask,
    PeakRange,
    colour_difference,
    decibel,
    inner_mean,
    masked_mean,
    psnr_of,
    squared_error,
    ssim_map,
)

NAMES = ("mse", "psnr", "fmse", "fpsnr", "ssim", "fssim", "background_mse", "ciede2000", "fciede2000", "area")


@dataclass(frozen=True)
class MetricProtocol:
    """How images are brought to what is measured; a table must state it.

    Attributes:
        name: What the table calls it.
        size: Side of the square that output, ground truth and mask are resized to; None measures at full size.
        filter: PIL's antialiased filter of that resize, on 8 bits.
        threshold: Mask values above it are foreground; None keeps the soft mask, as iDIH's and DCCF's code does.
        peak_range: Peak of PSNR; other than ``fixed`` only to compare with published numbers.
        paste_background: Replace the background by the ground truth's first, as RainNet's, HDNet's and DiffHarmony's
            code does; it hides errors that a method makes in the background.
    """

    name: str
    size: int | None = None
    filter: Filter = "bicubic"
    threshold: float | None = 127 / 255
    peak_range: PeakRange = "fixed"
    paste_background: bool = False

    def __str__(self) -> str:
        """Say everything that a reader needs to compare numbers."""
        side = "full size" if self.size is None else f"{self.size} x {self.size} (PIL {self.filter})"
        mask = "soft mask" if self.threshold is None else f"mask > {self.threshold * 255:g}"
        peak = {"fixed": "255", "prediction": "range of the prediction", "target": "maximum of the target"}
        parts = [side, "rounded to 8 bits", mask, f"PSNR peak {peak[self.peak_range]}", "SSIM 11 x 11 sigma 1.5"]
        if self.paste_background:
            parts.append("ground-truth background")
        return f"{self.name}: {', '.join(parts)}"

    def prepare(
        self, output: Image, real: Float[Tensor, "3 y x"], mask: Float[Tensor, "1 v u"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Round, resize, threshold and paste; raises ``InputError`` for unequal sizes or an empty mask."""
        if output.shape[-2:] != real.shape[-2:] or output.shape[-2:] != mask.shape[-2:]:
            sizes = ", ".join(f"{part.shape[-1]} x {part.shape[-2]}" for part in (output, real, mask))
            raise InputError(f"output, real photo and mask must have one size, got {sizes}")
        output, real, mask = (from_uint8(to_uint8(image.cpu())) for image in (output, real, mask))
        if self.size is not None:
            square = (self.size, self.size)
            output, real, mask = (resize(image, square, self.filter) for image in (output, real, mask))
        if self.threshold is not None:
            # On whole 8-bit levels, so that a level equal to the threshold never passes by rounding.
            mask = ((mask.double() * 255).round() > self.threshold * 255 + 1e-6).to(mask)
        if not mask.any():
            raise InputError(f"the mask is empty at {mask.shape[-1]} x {mask.shape[-2]}, expected some foreground")
        if self.paste_background:
            output = mask * output + (1 - mask) * real
        return output, real, mask

    def measure(self, output: Image, real: Float[Tensor, "3 y x"], mask: Float[Tensor, "1 v u"]) -> dict[str, float]:
        """Measure one image by all of ``NAMES``; ``area`` is the foreground's share of the frame.

        A leading f stands for the foreground; the other values are over the whole frame.
        """
        output, real, mask = self.prepare(output, real, mask)
        errors, similarity = squared_error(output, real), ssim_map(output, real)
        colours = colour_difference(output, real)
        error, foreground = float(errors.mean()), masked_mean(errors, mask, "foreground")
        return {
            "mse": error,
            "psnr": psnr_of(error, output, real, self.peak_range),
            "fmse": foreground,
            "fpsnr": decibel(PEAK, foreground),
            "ssim": inner_mean(similarity, "gaussian"),
            "fssim": masked_mean(similarity, mask, "foreground"),
            "background_mse": masked_mean(errors, 1 - mask, "background"),
            "ciede2000": float(colours.mean()),
            "fciede2000": masked_mean(colours, mask, "foreground"),
            "area": float(mask.double().mean()),
        }


PROTOCOLS: Mapping[str, MetricProtocol] = {
    "ihd256": MetricProtocol("ihd256", size=256),
    "full": MetricProtocol("full"),
}


def protocol(name: str, **options: Any) -> MetricProtocol:
    """Return the protocol ``ihd256`` or ``full``, with legacy options of ``MetricProtocol``, which its name then tells.

    Raises:
        InputError: For an unknown name.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
    label = ",".join((name, *(f"{key}={value}" for key, value in options.items())))
    return replace(PROTOCOLS[name], name=label, **options)


class HarmonizationMetrics(Metric):
    """Means over images of all of ``NAMES``; sums are added up over processes.

    Args:
        protocol: How images are prepared.
    """

    full_state_update = False
    totals: Tensor
    count: Tensor

    def __init__(self, protocol: MetricProtocol, **options: Any) -> None:
        super().__init__(**options)
        self.protocol = protocol
        self.add_state("totals", torch.zeros(len(NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, output: Image, real: Image, mask: Mask) -> None:
        """Measure one image."""
        values = self.protocol.measure(output, real, mask)
        self.totals += torch.tensor([values[name] for name in NAMES], dtype=torch.float64, device=self.totals.device)
        self.count += 1

    def compute(self) -> dict[str, Tensor]:
        """Return the means over images by name."""
        return dict(zip(NAMES, self.totals / self.count, strict=True))
