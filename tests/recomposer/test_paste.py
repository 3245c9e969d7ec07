import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diffharmon.images import from_uint8, to_uint8
from diffharmon.protocols import Recomposer
from diffharmon.recomposer.feather import Feather
from diffharmon.recomposer.paste import Paste
from diffharmon.types import Composite, Edited


def example(height=60, width=90, side=32):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, height, width, generator=generator)
    mask = torch.zeros(1, height, width)
    mask[:, 15:45, 20:60] = 1
    branch = torch.rand(3, side, side, generator=generator)
    return Composite("a", "b", image, mask), Edited(branch, branch.flip(0), branch)


@pytest.mark.parametrize("recomposer", [Paste(), Paste(threshold=None), Feather(), Feather(radius=0.5)])
@pytest.mark.parametrize("size", [(60, 90), (200, 70)])
def test_background_is_bit_exact_and_values_are_in_range(recomposer, size):
    composite, edited = example(*size)
    assert isinstance(recomposer, Recomposer)
    result = recomposer.recompose(composite, composite.image, edited)
    assert torch.equal(result * (1 - composite.mask), composite.image * (1 - composite.mask))
    assert result.min() >= 0
    assert result.max() <= 1
    assert not torch.equal(result, composite.image)


def test_paste_at_equal_size_takes_the_edited_pixels_as_they_are():
    composite, edited = example(32, 32)
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:20, 8:20] = 1
    result = Paste().recompose(Composite("a", "b", composite.image, mask), composite.image * 0, edited)
    assert torch.equal(result, torch.where(mask > 0, edited.edited, composite.image))


def test_paste_cuts_soft_masks_unless_told_otherwise():
    composite, edited = example(32, 32)
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:12], mask[:, 12:20], mask[:, 20:24] = 0.3, 1.0, 0.6
    soft = Composite("a", "b", composite.image, mask)
    hard = Paste().recompose(soft, soft.image, edited)
    assert torch.equal(hard[:, 8:12], soft.image[:, 8:12])
    assert torch.equal(hard[:, 12:24], edited.edited[:, 12:24])
    blended = Paste(threshold=None).recompose(soft, soft.image, edited)
    assert torch.allclose(blended, mask * edited.edited + (1 - mask) * soft.image, atol=1e-6)


@pytest.mark.parametrize("case", ["girl128_edge", "house128_multi"])
def test_paste_equals_the_reference_blend(golden_folder, case):
    golden = np.load(golden_folder / case / "iter00.npz", allow_pickle=False)

    def image(array):
        return from_uint8(torch.from_numpy(array.copy()).permute(2, 0, 1))

    base, edited = (image(array) for array in golden["final_images"])
    background = image(golden["bg_image"].reshape(base.shape[1], base.shape[2], 3))
    mask = torch.from_numpy(golden["original_mask"][0].astype(np.float32))
    result = Paste().recompose(Composite("a", "b", background, mask), background, Edited(base, edited, background))
    assert np.array_equal(to_uint8(result).permute(1, 2, 0).numpy(), golden["blend"].reshape(*base.shape[1:], 3))


def test_feather_fades_inwards_over_a_band_of_its_radius():
    image = torch.zeros(3, 100, 100)
    mask = torch.zeros(1, 100, 100)
    mask[:, 20:80, 20:80] = 1
    white = torch.ones(3, 16, 16)
    diameter = 2 * (3600 / torch.pi) ** 0.5
    for radius in (0.05, 0.2):
        result = Feather(radius).recompose(Composite("a", "b", image, mask), image, Edited(white, white, white))
        profile = result[0, 50, 20:50]
        assert (profile.diff() > -1e-5).all()
        assert 0 < profile[0] < 0.3
        width = int((profile < 1 - 1e-5).sum())
        assert abs(width - radius * diameter) <= 1.5
        assert result[:, 50, 50].min() > 1 - 1e-5
    hard = Feather(0.0).recompose(Composite("a", "b", image, mask), image, Edited(white, white, white))
    assert torch.allclose(hard, mask.expand(3, -1, -1), atol=1e-5)


def test_feather_does_not_fade_at_the_frame():
    image, white = torch.zeros(3, 50, 50), torch.ones(3, 16, 16)
    mask = torch.zeros(1, 50, 50)
    mask[:, :30] = 1
    result = Feather(0.2).recompose(Composite("a", "b", image, mask), image, Edited(white, white, white))
    assert result[:, :15].min() > 1 - 1e-5
    assert result[0, 29, 25] < 0.2


def test_shrinking_is_antialiased():
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.zeros(3, 16, 16), torch.zeros(1, 16, 16)
    mask[:, 2:14, 2:14] = 1
    large = (torch.rand(3, 64, 64, generator=generator) > 0.5).float()
    result = Paste().recompose(Composite("a", "b", image, mask), image, Edited(large, large, large))
    expected = F.avg_pool2d(large[None], 4)[0]
    assert (result - expected)[:, 3:13, 3:13].abs().mean() < 0.1


def test_feather_blends_by_soft_masks():
    image, white = torch.zeros(3, 60, 60), torch.ones(3, 16, 16)
    mask = torch.zeros(1, 60, 60)
    mask[:, 10:50, 10:50] = 0.5
    result = Feather(0.02).recompose(Composite("a", "b", image, mask), image, Edited(white, white, white))
    assert torch.allclose(result[:, 20:40, 20:40], torch.tensor(0.5), atol=1e-5)
    assert result.max() < 0.5 + 1e-5
