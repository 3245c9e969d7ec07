"""Metrics with ground truth on the 0-255 scale: per image first, means over images after.

The functions take images in [0, 1] as they are and work on the CPU in float64; rounding, resizing and the mask's
threshold belong to the ``MetricProtocol`` that every table names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor
from torchmetrics import Metric

from diffharmon.errors import InputError
from diffharmon.images import Filter, from_uint8, resize, to_uint8

PeakRange = Literal["fixed", "prediction", "target"]
SsimWindow = Literal["gaussian", "uniform"]
Image = Float[Tensor, "3 h w"]
Mask = Float[Tensor, "1 h w"]

NAMES = ("mse", "psnr", "fmse", "fpsnr", "ssim", "fssim", "background_mse", "ciede2000", "fciede2000", "area")
_PEAK = 255.0
_CHUNK = 1 << 20  # pixels at a time, which bounds the memory
_SSIM_SIDES = {"gaussian": 11, "uniform": 7}


def squared_error(output: Image, real: Image) -> Image:
    """Squared difference of every value, on the 0-255 scale."""
    return ((output.cpu().double() - real.cpu().double()) * _PEAK) ** 2


def mse(output: Image, real: Image) -> float:
    """Mean squared error over the whole frame; lower is better."""
    return float(squared_error(output, real).mean())


def psnr(output: Image, real: Image, peak_range: PeakRange = "fixed") -> float:
    """Peak signal-to-noise ratio over the whole frame in dB; higher is better, infinite for equal images.

    Args:
        output: The judged image.
        real: The ground truth.
        peak_range: What stands for the peak. ``fixed`` is 255. ``prediction`` is the output's largest minus its
            smallest value, as in DoveNet's, BargainNet's and Harmonizer's code. ``target`` is the ground truth's
            largest value, with 1e-6 added to the error, as in iDIH's, iSSAM's and CDTNet's.
    """
    return _psnr(mse(output, real), output, real, peak_range)


def _psnr(error: float, output: Image, real: Image, peak_range: PeakRange) -> float:
    if peak_range == "fixed":
        return _decibel(_PEAK, error)
    if peak_range == "prediction":
        return _decibel(float(output.max() - output.min()) * _PEAK, error)
    return _decibel(float(real.max()) * _PEAK, error + 1e-6)


def fmse(output: Image, real: Image, mask: Mask) -> float:
    """Foreground error ``sum(mask * error²) / (3 * sum(mask))``; lower is better.

    A soft mask weighs pixels by its value. Raises ``InputError`` for an empty mask.
    """
    return _masked_mean(squared_error(output, real), mask, "foreground")


def fpsnr(output: Image, real: Image, mask: Mask) -> float:
    """Peak signal-to-noise ratio over the foreground in dB, peak 255; higher is better."""
    return _decibel(_PEAK, fmse(output, real, mask))


def background_mse(output: Image, real: Image, mask: Mask) -> float:
    """Mean squared error outside the foreground; raises ``InputError`` for a mask that covers everything."""
    return _masked_mean(squared_error(output, real), 1 - mask, "background")


def ssim_map(output: Image, real: Image, window: SsimWindow = "gaussian") -> Image:
    """Structural similarity around every pixel (Wang et al., 2004), data range 255.

    Args:
        output: The judged image.
        real: The ground truth.
        window: ``gaussian`` is the original 11 x 11 window of sigma 1.5 with population covariance; ``uniform`` the
            7 x 7 window with sample covariance that scikit-image takes by default.

    Raises:
        InputError: For an image smaller than the window.
    """
    side = _SSIM_SIDES[window]
    if min(output.shape[-2:]) < side:
        raise InputError(f"SSIM needs at least {side} pixels a side, got {output.shape[-1]} x {output.shape[-2]}")
    if window == "gaussian":
        kernel = np.exp(-((np.arange(side) - side // 2) ** 2) / (2 * 1.5**2))
        kernel, scale = kernel / kernel.sum(), 1.0
    else:
        kernel, scale = np.full(side, 1 / side), side**2 / (side**2 - 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)

    c1, c2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
    result = torch.ones(output.shape, dtype=torch.float64)
    # Where a window sees no difference the similarity is 1, which spares most of a large photo's background.
    rows, columns = (_span((output != real).any(0).any(axis), side) for axis in (1, 0))
    for channel in range(3 if rows.stop and columns.stop else 0):
        x, y = (image[channel, rows, columns].cpu().double().numpy() * _PEAK for image in (output, real))
        ux, uy = mean(x), mean(y)
        variances = scale * (mean(x * x) - ux * ux + mean(y * y) - uy * uy)
        covariance = scale * (mean(x * y) - ux * uy)
        similarity = (2 * ux * uy + c1) * (2 * covariance + c2) / ((ux**2 + uy**2 + c1) * (variances + c2))
        result[channel, rows, columns] = torch.from_numpy(similarity)
    return result


def ssim(output: Image, real: Image, window: SsimWindow = "gaussian") -> float:
    """Mean of ``ssim_map`` over channels and the pixels whose window lies in the frame; higher is better."""
    return _inner_mean(ssim_map(output, real, window), window)


def fssim(output: Image, real: Image, mask: Mask, window: SsimWindow = "gaussian") -> float:
    """Mean of ``ssim_map`` over the foreground; higher is better."""
    return _masked_mean(ssim_map(output, real, window), mask, "foreground")


def colour_difference(output: Image, real: Image) -> Mask:
    """CIEDE2000 of every pixel, of sRGB images under D65."""
    different = (output != real).any(0)
    first, second = (image[:, different].T.cpu().double().numpy() for image in (output, real))
    result = torch.zeros(different.shape, dtype=torch.float64)
    if len(first):
        parts = [slice(start, start + _CHUNK) for start in range(0, len(first), _CHUNK)]
        values = [deltaE_ciede2000(rgb2lab(first[part]), rgb2lab(second[part])) for part in parts]
        result[different.cpu()] = torch.from_numpy(np.concatenate(values))
    return result[None]


def ciede2000(output: Image, real: Image, mask: Mask | None = None) -> float:
    """Mean colour difference CIEDE2000, in the foreground or everywhere; lower is better."""
    values = colour_difference(output, real)
    return float(values.mean()) if mask is None else _masked_mean(values, mask, "foreground")


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
        error, foreground = float(errors.mean()), _masked_mean(errors, mask, "foreground")
        return {
            "mse": error,
            "psnr": _psnr(error, output, real, self.peak_range),
            "fmse": foreground,
            "fpsnr": _decibel(_PEAK, foreground),
            "ssim": _inner_mean(similarity, "gaussian"),
            "fssim": _masked_mean(similarity, mask, "foreground"),
            "background_mse": _masked_mean(errors, 1 - mask, "background"),
            "ciede2000": float(colours.mean()),
            "fciede2000": _masked_mean(colours, mask, "foreground"),
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


def _inner_mean(similarity: Image, window: SsimWindow) -> float:
    margin = (_SSIM_SIDES[window] - 1) // 2
    return float(similarity[:, margin:-margin, margin:-margin].mean())


def _span(flags: Bool[Tensor, " n"], margin: int) -> slice:
    """From the first to the last true, widened by ``margin`` within the range; empty when none is."""
    places = flags.nonzero()
    if not len(places):
        return slice(0, 0)
    return slice(max(int(places[0]) - margin, 0), int(places[-1]) + 1 + margin)


def _masked_mean(values: Float[Tensor, "c h w"], mask: Mask, what: str) -> float:
    weight = mask.cpu().double()
    total = float(weight.sum())
    if total <= 0:
        raise InputError(f"the mask leaves no {what}, expected at least one pixel of {what} to measure")
    return float((weight * values).sum()) / (values.shape[0] * total)


def _decibel(peak: float, error: float) -> float:
    if error == 0:
        return float("inf")
    return 10 * float(np.log10(peak**2 / error)) if peak > 0 else float("-inf")
