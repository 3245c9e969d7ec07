import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from diffharmon.report.statistics import compare, estimate, holm, significance


def test_interval_agrees_with_a_bootstrap_written_out():
    values = np.random.default_rng(3).gamma(2.0, 3.0, 60).tolist()
    found = estimate(values, seed=1)
    draws = np.random.default_rng(99).choice(values, (20000, 60)).mean(1)
    assert found.mean == pytest.approx(sum(values) / 60)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=0.12)
    assert found.count == 60


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        found = estimate(rng.normal(1.0, 2.0, 40).tolist(), seed=trial, resamples=300)
        hits += found.low <= 1.0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_estimate_depends_on_the_seed_only_and_not_on_the_order():
    values = np.random.default_rng(0).normal(size=30).tolist()
    assert estimate(values, 7) == estimate(values[::-1], 7)
    assert estimate(values, 7) != estimate(values, 8)


def test_estimates_of_one_value_and_of_infinite_values_have_no_interval():
    assert math.isnan(estimate([3.0]).low)
    found = estimate([3.0, math.inf])
    assert found.mean == math.inf
    assert math.isnan(found.high)
    with pytest.raises(ValueError, match="expected at least one value"):
        estimate([])


def test_gain_is_positive_where_the_run_is_better_whatever_the_direction():
    higher, lower = (compare([3.0, 4.0, 5.0], [1.0, 5.0, 2.0], up) for up in (True, False))
    assert higher.gain.mean == pytest.approx(4 / 3)
    assert lower.gain.mean == pytest.approx(-4 / 3)
    assert (higher.better, lower.better) == (2, 1)


def test_pairs_with_an_infinite_value_are_left_out():
    found = compare([math.inf, 2.0, 4.0, math.inf], [math.inf, 1.0, 1.0, 5.0], True)
    assert (found.gain.mean, found.gain.count) == (2.0, 2)
    assert compare([math.inf], [1.0], True) is None


def test_significance_is_exact_for_few_pairs_of_one_sign():
    # Of all 2^n sign patterns only two are as extreme as "all positive".
    assert significance([0.5, 1.0, 2.0, 3.5, 4.0, 7.0]) == pytest.approx(2 / 2**6)
    assert significance([0.0] * 6) == 1.0
    assert math.isnan(significance([1.0, 2.0, 3.0, 4.0, 5.0])), "five pairs cannot reach 0.05"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-3, 3).map(float), min_size=6, max_size=9).filter(any))
def test_significance_of_few_pairs_with_ties_and_zeros_is_scipys(gains):
    assert significance(gains) == pytest.approx(wilcoxon(gains, zero_method="zsplit").pvalue, rel=1e-9)


def test_holm_agrees_with_a_worked_example_and_ignores_nan():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[0] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[i] for i in order] == sorted(adjusted)
