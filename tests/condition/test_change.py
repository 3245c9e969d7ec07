"""Changes of light in CIELAB and the weighted words that stand for them."""

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab

from diffharmon.condition.change import change_colours, change_image
from diffharmon.condition.cielab import lab_to_rgb, rgb_to_lab
from diffharmon.condition.light import named_change
from diffharmon.condition.wording import put_into_words
from diffharmon.types.light import LightChange


def colours(count: int = 48, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2


def change(shift, spread=(0, 0, 0)) -> LightChange:
    centre = rgb_to_lab(colours()).mean(0)
    return LightChange(
        centre, torch.tensor(shift, dtype=torch.float32), torch.tensor(spread, dtype=torch.float32), torch.zeros(6)
    )


def test_cielab_agrees_with_scikit_image_both_ways():
    given = torch.rand(500, 3, generator=torch.Generator().manual_seed(1))
    expected = rgb2lab(given.double().numpy()[:, None])[:, 0]
    np.testing.assert_allclose(rgb_to_lab(given.double()).numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(
        lab_to_rgb(torch.from_numpy(expected)).numpy(), lab2rgb(expected[:, None])[:, 0], atol=1e-4
    )


def test_no_change_is_no_change():
    torch.testing.assert_close(change_colours(LightChange.none(), colours()), colours(), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        change_colours(change((9.0, 3, -5), (0.3, 0.1, 0)).scaled(0.0), colours()), colours(), atol=1e-5, rtol=0
    )


def test_a_change_moves_mean_and_spread_in_cielab_by_what_it_says():
    before = rgb_to_lab(colours())
    after = rgb_to_lab(change_colours(change((6.0, -2, 3), (-0.4, 0.2, -0.1)), colours()))
    torch.testing.assert_close(after.mean(0) - before.mean(0), torch.tensor([6.0, -2, 3]), atol=0.1, rtol=0)
    factors = torch.tensor([-0.4, 0.2, -0.1]).exp()
    torch.testing.assert_close(after.std(0) / before.std(0), factors, atol=0.02, rtol=0)


def test_an_image_changes_under_its_mask_alone():
    image = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 12, 10)
    mask[:, 3:7, 2:8] = 0.3
    mapped = change_image(change((10.0, 0, 0)), image, mask)
    outside = (mask == 0).expand_as(image)
    assert torch.equal(mapped[outside], image[outside])
    assert (mapped[~outside] != image[~outside]).float().mean() > 0.9


@pytest.mark.parametrize(
    ("shift", "spread"),
    [
        ((12.0, 0, 0), (0, 0, 0)),
        ((-18.0, 2, 6), (-0.1, 0, 0)),
        ((4.0, -2, -12), (0, 0.2, 0.2)),
        ((0.0, 3, 9), (0, 0, 0)),
    ],
)
def test_the_words_of_a_change_name_most_of_it(shift, spread):
    wanted = change(shift, spread)
    found = put_into_words(wanted, colours())
    assert len(found.foreground) <= 4
    assert len(found.background) <= 4
    assert all(0 < weight <= 1 for side in (found.foreground, found.background) for weight in side.values())
    named = named_change(colours().T[:, :, None], found.foreground, found.background)[:, :, 0].T
    missed = (named - (change_colours(wanted, colours()) - colours())).square().mean().sqrt().item()
    assert missed == pytest.approx(found.residual, abs=1e-4)
    assert missed < 0.6 * found.size


def test_more_words_never_miss_more():
    wanted = change((6.0, 4, -8), (-0.3, 0.2, 0.1))
    residuals = [put_into_words(wanted, colours(), count).residual for count in (1, 2, 4)]
    assert residuals[2] <= residuals[1] + 2e-3
    assert residuals[1] <= residuals[0] + 2e-3


def test_no_change_needs_no_words():
    found = put_into_words(LightChange.none(), colours())
    assert (found.foreground, found.background) == ({"daylight": 1.0}, {"daylight": 1.0})


def test_half_of_a_word_names_less_than_all_of_it():
    image = torch.full((3, 4, 4), 0.4)
    sizes = [named_change(image, (), {"dim": weight}).abs().mean().item() for weight in (0.0, 0.3, 0.6, 1.0)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 1e-4
    torch.testing.assert_close(named_change(image, ("dim",), ()), named_change(image, {"dim": 1.0}, {}))
