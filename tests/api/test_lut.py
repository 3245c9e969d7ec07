import numpy as np
import pytest
import torch
from PIL import Image
from pillow_lut import load_cube_file

from diffharmon.errors import InputError
from diffharmon.images.lut import Lut, fit, interpolate


def image(seed=0, size=(60, 80)):
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))


def whole(picture):
    return torch.ones(1, *picture.shape[-2:])


CHANGES = {
    "none": lambda colours: colours,
    "darker and warmer": lambda colours: colours * torch.tensor([0.7, 0.6, 0.45])[:, None, None],
    "brighter": lambda colours: colours**0.8,
    "grey": lambda colours: colours.mean(0, keepdim=True).expand(3, -1, -1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_colour_is_learnt(name):
    before = image() * 0.8 + 0.1
    lut = fit(before, CHANGES[name](before), whole(before))
    assert lut.table.shape == (33, 33, 33, 3)
    assert lut.error < 0.006


def test_another_librarys_reader_gives_the_same_colours(tmp_path):
    before = image()
    lut = fit(before, CHANGES["darker and warmer"](before), whole(before))
    lut.save(tmp_path / "look.cube", 'Käse "1"')
    assert (tmp_path / "look.cube").read_text().startswith("TITLE \"K?se '1'\"\n")
    eight = (before * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    found = np.asarray(Image.fromarray(eight).filter(load_cube_file(str(tmp_path / "look.cube")))).astype(float)
    expected = lut.apply(eight.reshape(-1, 3) / 255).reshape(eight.shape) * 255
    assert np.abs(found - expected).max() <= 1.0


def test_the_error_is_the_difference_over_the_foreground():
    before = image()
    mask = torch.zeros(1, *before.shape[-2:])
    mask[:, :20] = 1
    shaded = before * torch.linspace(0.4, 1.0, before.shape[-1])
    shaded[:, 20:] = 0
    lut = fit(before, shaded, mask)
    inside = before[:, :20].flatten(1).T.double().numpy()
    expected = np.sqrt(((lut.apply(inside) - shaded[:, :20].flatten(1).T.numpy()) ** 2).mean())
    assert lut.error == pytest.approx(expected, rel=1e-6)
    assert lut.error > 0.05


def test_colours_that_the_foreground_lacks_stay():
    before = image() * 0.1
    lut = fit(before, before + 0.2, whole(before))
    assert np.abs(lut.table[-1, -1, -1] - 1).max() < 1e-3
    assert np.abs(lut.table[1, 1, 1] - 1 / 32 - 0.2).max() < 0.01


def test_grid_points_are_met_exactly():
    table = np.random.default_rng(0).random((4, 4, 4, 3))
    np.testing.assert_allclose(
        interpolate(table, np.array([[0, 1 / 3, 1], [2 / 3, 1, 0]])), table[[0, 2], [1, 3], [3, 0]]
    )


def test_red_changes_fastest_in_the_file(tmp_path):
    table = np.zeros((2, 2, 2, 3))
    table[1, 0, 0] = (0.25, 0.5, 0.75)
    Lut(table, 0.0).save(tmp_path / "a.cube")
    numbers = [line for line in (tmp_path / "a.cube").read_text().splitlines() if line[0].isdigit()]
    assert numbers[1] == "0.250000 0.500000 0.750000"


def test_an_empty_mask_and_another_suffix_are_refused(tmp_path):
    before = image()
    with pytest.raises(InputError, match="no pixel of the mask"):
        fit(before, before, 0 * whole(before))
    with pytest.raises(InputError, match=r"got a\.txt"):
        fit(before, before, whole(before)).save(tmp_path / "a.txt")
