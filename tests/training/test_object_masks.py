"""Object masks for photos that have none."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from diffharmon.training.object_masks import MaskHead, Rules, objects, probability, train

SHAPE = (96, 128)


def disc(row: int, column: int, radius: int) -> np.ndarray:
    """A disc as a mask."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def scene(*discs: np.ndarray) -> np.ndarray:
    """Orange discs on noisy blue."""
    picture = np.full((*SHAPE, 3), (40, 80, 150), np.float32)
    for one in discs:
        picture[one] = (220, 140, 40)
    return (picture + np.random.default_rng(0).normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


def guess(region: np.ndarray, blur: float = 2.0) -> np.ndarray:
    """A probability that follows a region with a soft outline."""
    return cv2.GaussianBlur(region.astype(np.float32), (0, 0), blur)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_each_object_gets_a_mask_along_its_own_colours():
    large, small = disc(48, 40, 24), disc(50, 100, 14)
    shifted = guess(disc(50, 42, 24)) + guess(small)  # the head's outline is two pixels off
    masks = objects(scene(large, small), shifted.clip(0, 1))
    assert len(masks) == 2
    assert overlap(masks[0], large) > max(0.95, overlap(disc(50, 42, 24), large))
    assert overlap(masks[1], small) > 0.9


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(guess(disc(48, 40, 6)), id="too small"),
        pytest.param(0.7 * guess(disc(48, 40, 24)), id="unsure"),
        # Sure on the whole, and at one with the colours: only the outline is wide open.
        pytest.param(
            np.select([disc(48, 40, 20), disc(48, 40, 24), disc(48, 40, 29)], [0.99, 0.6, 0.3], 0.0), id="vague outline"
        ),
    ],
)
def test_a_doubtful_region_is_left_out(found: np.ndarray):
    assert objects(scene(disc(48, 40, 24)), found) == []


def test_a_region_on_the_border_is_left_out():
    strip = np.zeros(SHAPE, bool)
    strip[:40] = True
    picture = scene(strip)
    assert objects(picture, guess(strip)) == []
    assert objects(picture, guess(strip), replace(Rules(), border=0.9))


def test_the_head_learns_where_its_features_say_so():
    generator = torch.Generator().manual_seed(0)
    covers = (torch.nn.functional.interpolate(torch.rand(32, 1, 3, 3, generator=generator), 16) > 0.6).float()
    small = [torch.nn.functional.adaptive_avg_pool2d(covers, side) for side in (16, 8, 4, 2)]
    widths = (24, 40, 112, 320)
    levels = tuple(cover.expand(-1, n, -1, -1).half() for cover, n in zip(small, widths, strict=True))
    head = train(levels, covers, rounds=20)
    found = [probability(head, tuple(level[n : n + 1] for level in levels), (16, 16)) > 0.5 for n in range(32)]
    wanted = [cover[0].numpy() > 0.5 for cover in covers]
    assert np.mean([overlap(one, truth) for one, truth in zip(found, wanted, strict=True)]) > 0.8
    assert isinstance(head, MaskHead)
