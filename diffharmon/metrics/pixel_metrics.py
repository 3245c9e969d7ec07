"""Metrics with ground truth, under an evaluation protocol: how images are prepared before they are compared."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le, Lt
from jaxtyping import Float
from torch import Tensor

from diffharmon.columns import Column
from diffharmon.errors import InputError
from diffharmon.images import Filter, from_uint8, resize, to_uint8
from diffharmon.metrics.pixels import (
    PEAK,
    Image,
    PeakRange,
    colour_difference,
    decibel,
    inner_mean,
    masked_mean,
    psnr_of,
    squared_error,
    ssim_map,
)
from diffharmon.protocols import Sample

_PEAKS = {"fixed": "255", "prediction": "range of the prediction", "target": "maximum of the target"}


def _error(key: str, title: str, in_tables: bool = True) -> Column:
    return Column(key, title, direction="lower", has_baseline=True, in_tables=in_tables)


@dataclass(frozen=True)
class PixelMetrics:
    """Compares a result with the ground truth; a leading f in a column's key stands for the foreground.

    Attributes:
        size: Side of the square that output, ground truth and mask are resized to; None measures at full size.
        filter: PIL's antialiased filter of that resize, on 8 bits.
        threshold: Mask values above it are foreground; None keeps the soft mask, as iDIH's and DCCF's code does.
        peak_range: Peak of PSNR; other than ``fixed`` only to compare with published numbers.
        paste_background: Replace the background by the ground truth's first, as RainNet's, HDNet's and DiffHarmony's
            code does; it hides errors that a method makes in the background.

    Raises:
        ConfigError: ``size`` is smaller than the window of SSIM.
    """

    size: Annotated[int, Ge(11), Le(16384)] | None = None
    filter: Filter = "bicubic"
    threshold: Annotated[float, Ge(0), Lt(1)] | None = 127 / 255
    peak_range: PeakRange = "fixed"
    paste_background: bool = False

    columns: ClassVar[tuple[Column, ...]] = (
        Column("psnr", "PSNR", "dB", "higher", has_baseline=True),
        _error("mse", "MSE"),
        _error("fmse", "fMSE"),
        Column("fpsnr", "fPSNR", "dB", "higher", has_baseline=True, is_main=True),
        Column("ssim", "SSIM", direction="higher", decimals=4, has_baseline=True),
        Column("fssim", "fSSIM", direction="higher", decimals=4, has_baseline=True),
        _error("background_mse", "background MSE", in_tables=False),
        _error("ciede2000", "CIEDE2000", in_tables=False),
        _error("fciede2000", "fCIEDE2000"),
        Column("area", "foreground's share of the frame", decimals=4, in_tables=False),
    )

    @property
    def statement(self) -> str:
        """Everything that a reader needs to compare numbers."""
        side = "full size" if self.size is None else f"{self.size} x {self.size} (PIL {self.filter})"
        mask = "soft mask" if self.threshold is None else f"mask > {self.threshold * 255:g}"
        parts = [side, "rounded to 8 bits", mask, f"PSNR peak {_PEAKS[self.peak_range]}", "SSIM 11 x 11 sigma 1.5"]
        if self.paste_background:
            parts.append("ground-truth background")
        return ", ".join(parts)

    def measure(self, sample: Sample) -> dict[str, float]:
        """Measure a result by all ``columns``; nothing without ground truth.

        Raises:
            InputError: Sizes differ, or the mask is empty or covers the frame.
        """
        composite = sample.composite
        return {} if composite.real is None else self.compare(sample.result, composite.real, composite.mask)

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

    def compare(self, output: Image, real: Float[Tensor, "3 y x"], mask: Float[Tensor, "1 v u"]) -> dict[str, float]:
        """Compare an image with its ground truth; values by the keys of ``columns``."""
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
