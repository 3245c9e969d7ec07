"""Regions of even colour as masks."""

import numpy as np

from diffharmon.training.colour_regions import colour_regions

SHAPE = (96, 128)


def squares(*places: tuple[int, int, int]) -> np.ndarray:
    """Squares of different colours, by first row, first column and side, on noisy green."""
    picture = np.full((*SHAPE, 3), (60, 120, 60), np.float32)
    for number, (row, column, side) in enumerate(places):
        picture[row : row + side, column : column + side] = (230 - 90 * number, 60, 40 + 90 * number)
    return (picture + np.random.default_rng(0).normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)


def test_even_surfaces_are_found_and_never_more_than_asked_for():
    picture = squares((10, 10, 40), (50, 70, 40))
    found = colour_regions(picture, 5, seed=0)
    sizes = sorted(int(region.sum()) for region in found)
    assert len(found) == 2  # not the green around them, which lies on the border
    assert all(abs(size - 1600) < 160 for size in sizes)
    assert len(colour_regions(picture, 1, seed=0)) == 1


def test_holes_are_filled_and_specks_and_strips_left_out():
    picture = squares((20, 20, 50), (38, 38, 14))
    whole = max(colour_regions(picture, 5, seed=0), key=lambda region: region.sum())
    assert whole[45, 45]
    assert colour_regions(squares((40, 60, 8)), 5, seed=0) == []
    strip = squares()
    strip[:30] = (200, 90, 60)
    assert colour_regions(strip, 5, seed=0) == []


def test_the_seed_decides_which_are_picked():
    picture = squares((5, 5, 25), (5, 90, 25), (60, 5, 25), (60, 90, 25))
    picked = {tuple(np.argwhere(colour_regions(picture, 1, seed=seed)[0])[0]) for seed in range(12)}
    assert len(picked) > 1
    assert np.array_equal(colour_regions(picture, 2, seed=3), colour_regions(picture, 2, seed=3))
