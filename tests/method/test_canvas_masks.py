"""Masks brought to the backbone's sizes: 1 stays foreground, and what is foreground is decided at 100 of 255."""

import pytest
import torch

from diffharmon.evaluator.none import NoEvaluator
from diffharmon.images import binary_mask
from diffharmon.method.canvas import prepare


@pytest.fixture
def mask():
    """A foreground that fills whole cells of 10 x 10 pixels."""
    mask = torch.zeros(1, 60, 80)
    mask[:, 10:30, 40:] = 1
    return mask


def test_the_foreground_is_one_at_any_size(mask):
    assert torch.equal(binary_mask(mask, (60, 80)), mask)
    assert torch.equal(binary_mask(mask, (6, 8)), mask[:, 5::10, 5::10])
    assert torch.equal(binary_mask(mask, (120, 160)), mask.repeat_interleave(2, 1).repeat_interleave(2, 2))


@pytest.mark.parametrize(("level", "foreground"), [(100, False), (101, True)])
def test_soft_values_are_foreground_above_100_of_255(mask, level, foreground):
    assert torch.equal(binary_mask(mask * level / 255, (60, 80)), mask * foreground)


def test_a_canvas_has_the_foreground_at_image_and_latent_size(composite):
    canvas = prepare(composite, (64, 64), 4, NoEvaluator())
    for made in (canvas.mask, canvas.latent_mask):
        assert made.mean() == pytest.approx(composite.mask.mean().item(), abs=0.02)
        side = made.shape[-1]
        assert made[0, round(0.4 * side), round(0.6 * side)] == 1
        assert made[0, 0, 0] == 0
