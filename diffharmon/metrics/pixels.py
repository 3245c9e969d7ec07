"""Metrics with ground truth on the 0-255 scale, of images in [0, 1] as they are, on the CPU in float64."""

from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from diffharmon.errors import InputError

PeakRange = Literal["fixed", "prediction", "target"]
SsimWindow = Literal["gaussian", "uniform"]
Image = Float[Tensor, "3 h w"]
Mask = Float[Tensor, "1 h w"]

PEAK = 255.0
_CHUNK = 1 << 20  # pixels at a time, which bounds the memory
_SSIM_SIDES = {"gaussian": 11, "uniform": 7}


def squared_error(output: Image, real: Image) -> Image:
    """Squared difference of every value, on the 0-255 scale."""
    return ((output.cpu().double() - real.cpu().double()) * PEAK) ** 2


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
    return psnr_of(mse(output, real), output, real, peak_range)


def psnr_of(error: float, output: Image, real: Image, peak_range: PeakRange) -> float:
    """PSNR of a mean squared error; see `psnr`."""
    if peak_range == "fixed":
        return decibel(PEAK, error)
    if peak_range == "prediction":
        return decibel(float(output.max() - output.min()) * PEAK, error)
    return decibel(float(real.max()) * PEAK, error + 1e-6)


def fmse(output: Image, real: Image, mask: Mask) -> float:
    """Foreground error ``sum(mask * error²) / (3 * sum(mask))``; lower is better.

    A soft mask weighs pixels by its value. Raises ``InputError`` for an empty mask.
    """
    return masked_mean(squared_error(output, real), mask, "foreground")


def fpsnr(output: Image, real: Image, mask: Mask) -> float:
    """Peak signal-to-noise ratio over the foreground in dB, peak 255; higher is better."""
    return decibel(PEAK, fmse(output, real, mask))


def background_mse(output: Image, real: Image, mask: Mask) -> float:
    """Mean squared error outside the foreground; raises ``InputError`` for a mask that covers everything."""
    return masked_mean(squared_error(output, real), 1 - mask, "background")


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

    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    result = torch.ones(output.shape, dtype=torch.float64)
    # Where a window sees no difference the similarity is 1, which skips most of a large photo's background.
    rows, columns = (_span((output != real).any(0).any(axis), side) for axis in (1, 0))
    for channel in range(3 if rows.stop and columns.stop else 0):
        x, y = (image[channel, rows, columns].cpu().double().numpy() * PEAK for image in (output, real))
        ux, uy = mean(x), mean(y)
        variances = scale * (mean(x * x) - ux * ux + mean(y * y) - uy * uy)
        covariance = scale * (mean(x * y) - ux * uy)
        similarity = (2 * ux * uy + c1) * (2 * covariance + c2) / ((ux**2 + uy**2 + c1) * (variances + c2))
        result[channel, rows, columns] = torch.from_numpy(similarity)
    return result


def ssim(output: Image, real: Image, window: SsimWindow = "gaussian") -> float:
    """Mean of ``ssim_map`` over channels and the pixels whose window lies in the frame; higher is better."""
    return inner_mean(ssim_map(output, real, window), window)


def fssim(output: Image, real: Image, mask: Mask, window: SsimWindow = "gaussian") -> float:
    """Mean of ``ssim_map`` over the foreground; higher is better."""
    return masked_mean(ssim_map(output, real, window), mask, "foreground")


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
    return float(values.mean()) if mask is None else masked_mean(values, mask, "foreground")


def inner_mean(similarity: Image, window: SsimWindow) -> float:
    """Mean over the pixels whose window lies in the frame."""
    margin = (_SSIM_SIDES[window] - 1) // 2
    return float(similarity[:, margin:-margin, margin:-margin].mean())


def _span(flags: Bool[Tensor, " n"], margin: int) -> slice:
    """From the first to the last true, widened by ``margin`` within the range; empty when none is."""
    places = flags.nonzero()
    if not len(places):
        return slice(0, 0)
    return slice(max(int(places[0]) - margin, 0), int(places[-1]) + 1 + margin)


def masked_mean(values: Float[Tensor, "c h w"], mask: Mask, what: str) -> float:
    """Mean over a mask; raises ``InputError``, naming ``what``, for an empty one."""
    weight = mask.cpu().double()
    total = float(weight.sum())
    if total <= 0:
        raise InputError(f"the mask leaves no {what}, expected at least one pixel of {what} to measure")
    return float((weight * values).sum()) / (values.shape[0] * total)


def decibel(peak: float, error: float) -> float:
    """Ratio of the squared peak to a mean squared error in dB; infinite without error."""
    if error == 0:
        return float("inf")
    return 10 * float(np.log10(peak**2 / error)) if peak > 0 else float("-inf")
