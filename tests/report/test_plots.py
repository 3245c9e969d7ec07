"""Axes, labels and points of the page's plots."""

import pytest

from diffharmon.report.plots import apart, linear, row_height, wrapped


def test_axes_cover_the_values_with_round_ticks():
    axis = linear([8.3, 19.9], 0, 100)
    assert (axis.low, axis.high) == (7.5, 20.0)
    assert [text for _, text in axis.ticks()][:3] == ["7.5", "10.0", "12.5"]
    assert linear([5.0, 5.0], 0, 100).at(5.0) == pytest.approx(0)
    assert len(linear([0.0], 0, 1).ticks()) >= 2


def test_a_long_name_is_broken_into_lines_and_not_cut():
    name = "study: structure=[cross_attention,self_attention] method.policy.iterations=12 dataset=iharmony4"
    lines = wrapped(name)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert max(map(len, lines)) <= 38
    assert row_height(["short", name], 24) >= 15 * len(lines)


def test_points_at_the_same_place_are_drawn_side_by_side():
    assert apart([(64.0, 100.0), (64.0, 104.0), (500.0, 100.0), (500.0, 100.0), (64.0, 180.0)], 536) == [
        64,
        83,
        500,
        481,
        64,
    ]
