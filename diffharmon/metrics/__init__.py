"""Metrics: per image first, means over images after.

``pixels`` compares with the ground truth, ``protocol`` says how images are prepared for it (rounding, resizing, the
mask's threshold), and ``clip`` measures agreement with words, which needs no ground truth.
"""

from diffharmon.metrics.pixels import background_mse as background_mse
from diffharmon.metrics.pixels import ciede2000 as ciede2000
from diffharmon.metrics.pixels import colour_difference as colour_difference
from diffharmon.metrics.pixels import fmse as fmse
from diffharmon.metrics.pixels import fpsnr as fpsnr
from diffharmon.metrics.pixels import fssim as fssim
from diffharmon.metrics.pixels import mse as mse
from diffharmon.metrics.pixels import psnr as psnr
from diffharmon.metrics.pixels import ssim as ssim
from diffharmon.metrics.protocol import NAMES as NAMES
from diffharmon.metrics.protocol import HarmonizationMetrics as HarmonizationMetrics
from diffharmon.metrics.protocol import MetricProtocol as MetricProtocol
from diffharmon.metrics.protocol import protocol as protocol
