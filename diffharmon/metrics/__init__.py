"""Metrics: per image first, means over images after.

``pixels`` holds the formulas, ``pixel_metrics`` measures by them against the ground truth under an evaluation protocol
(rounding, resizing, the mask's threshold), ``clip`` measures agreement with words, which needs no ground truth, and
``metric_set`` joins the selected metrics to a row. A metric defines its columns: a new one is a class and a YAML file.
"""

from diffharmon.metrics.metric_set import MetricSet as MetricSet
from diffharmon.metrics.pixel_metrics import PixelMetrics as PixelMetrics
from diffharmon.metrics.pixels import background_mse as background_mse
from diffharmon.metrics.pixels import ciede2000 as ciede2000
from diffharmon.metrics.pixels import colour_difference as colour_difference
from diffharmon.metrics.pixels import fmse as fmse
from diffharmon.metrics.pixels import fpsnr as fpsnr
from diffharmon.metrics.pixels import fssim as fssim
from diffharmon.metrics.pixels import mse as mse
from diffharmon.metrics.pixels import psnr as psnr
from diffharmon.metrics.pixels import ssim as ssim
