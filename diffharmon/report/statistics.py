"""Estimates over images: bootstrap intervals and paired comparisons, all seeded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, norm, permutation_test, rankdata, wilcoxon

RESAMPLES = 2000
CONFIDENCE = 0.95
NORMAL_FROM = 1000  # Values; the mean of so many is normal, and their bootstrap would take gigabytes and minutes.
MIN_PAIRS = 6  # With fewer, the two-sided signed-rank test cannot reach p < 0.05.
COUNTED_PAIRS = 13  # As many as SciPy counts all signs of where ranks are tied, but one call of its statistic for each.


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95 % interval.

    Attributes:
        mean: Plain mean; infinite where an image's value is.
        low: Lower end of the interval; NaN for a single image and for infinite values.
        high: Upper end of the interval; NaN as ``low``.
        count: Number of images.
    """

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Comparison:
    """The paired gain over a baseline on the images that both have.

    Attributes:
        gain: Mean gain with its interval; positive is better, whatever the metric's direction.
        better: Number of images on which the run is better than the baseline.
        p: Two-sided p-value of the Wilcoxon signed-rank test; NaN for fewer than six images.
        adjusted: The p-value after Holm's correction for the runs that were compared; NaN as ``p``.
    """

    gain: Estimate
    better: int
    p: float
    adjusted: float = math.nan


def estimate(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Estimate the mean with the 95 % percentile interval of its bootstrap over images.

    From 1,000 images on the interval is that of the normal distribution, which the bootstrap's then equals.

    Raises:
        ValueError: There are no values.
    """
    if not len(values):
        raise ValueError("expected at least one value to estimate a mean, got none")
    array = np.asarray(values, dtype=float)
    # An exact sum, so that the mean does not depend on the order in which images were finished.
    mean = math.fsum(array) / len(array) if np.isfinite(array).all() else float(array.mean())
    if len(array) < 2 or not math.isfinite(mean):
        return Estimate(mean, math.nan, math.nan, len(array))
    if len(array) >= NORMAL_FROM:
        half = float(norm.ppf((1 + CONFIDENCE) / 2) * array.std(ddof=1) / math.sqrt(len(array)))
        return Estimate(mean, mean - half, mean + half, len(array))
    interval = bootstrap(
        (np.sort(array),),
        np.mean,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(array)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), len(array))


def compare(
    values: Sequence[float], baseline: Sequence[float], higher_is_better: bool, seed: int = 0
) -> Comparison | None:
    """Compare paired values; pairs with an infinite value are left out, None when no pair is left."""
    sign = 1.0 if higher_is_better else -1.0
    pairs = zip(values, baseline, strict=True)
    gains = [sign * (ours - theirs) for ours, theirs in pairs if math.isfinite(ours) and math.isfinite(theirs)]
    if not gains:
        return None
    return Comparison(estimate(gains, seed), sum(gain > 0 for gain in gains), significance(gains))


def significance(gains: Sequence[float]) -> float:
    """Two-sided p-value of the Wilcoxon signed-rank test of paired differences.

    It is 1 when all are zero and NaN for fewer than six pairs.
    """
    if len(gains) < MIN_PAIRS:
        return math.nan
    if not any(gains):
        return 1.0
    array = np.asarray(gains)
    if len(array) <= COUNTED_PAIRS:
        return counted_p(array)
    return float(wilcoxon(array, zero_method="zsplit").pvalue)


def counted_p(gains: np.ndarray) -> float:
    """Two-sided p-value of the signed-rank test from all ways to sign the ranks, tied or not.

    Differences of zero share their rank between both signs, so they take part in the ranking alone. ``wilcoxon`` counts
    the same where ranks are tied, but asks for its statistic once for each way.
    """
    signed = np.sign(gains) * rankdata(np.abs(gains))
    found = permutation_test(
        (signed,),
        lambda values, axis: values.sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=math.inf,
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm, 1979); NaN stays NaN and is not counted."""
    order = sorted((index for index, p in enumerate(p_values) if not math.isnan(p)), key=lambda index: p_values[index])
    adjusted, highest = list(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
