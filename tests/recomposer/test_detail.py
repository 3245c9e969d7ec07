import pytest
import skimage.data
import torch
import torch.nn.functional as F

from diffharmon.condition.light import named_change
from diffharmon.protocols import Recomposer
from diffharmon.recomposer.detail import Detail, _apply, _Planes
from diffharmon.types import Composite, Description, Edited


def photo(name="astronaut"):
    return torch.from_numpy(getattr(skimage.data, name)().copy()).permute(2, 0, 1).float() / 255


def central(image):
    height, width = image.shape[-2:]
    mask = torch.zeros(1, height, width)
    mask[:, height // 5 : 4 * height // 5, width // 4 : 3 * width // 4] = 1
    return mask


def squash(image, side=128):
    return F.interpolate(image[None], (side, side), mode="bilinear", antialias=True)[0]


def recompose(image, mask, change, side=128, **options):
    small = squash(image, side)
    edited = Edited(small, change(small).clamp(0, 1), small)
    return Detail(**options).recompose(Composite("a", "b", image, mask), image, edited)


def psnr(first, second, mask):
    return float(-10 * torch.log10(((first - second) ** 2 * mask).sum() / (3 * mask.sum())))


def high_pass(image):
    return image - F.avg_pool2d(F.pad(image[None], (3, 3, 3, 3), mode="replicate"), 7, 1)[0]


CHANGES = {
    "gain": lambda image: image * torch.tensor([1.2, 1.0, 0.75])[:, None, None],
    "darker": lambda image: image * 0.4,
    "gamma 0.7": lambda image: image**0.7,
    "gamma 1.5": lambda image: image**1.5,
    "affine": lambda image: image * 0.7 + 0.2,
    "mixing": lambda image: torch.einsum(
        "ij,jhw->ihw", torch.tensor([[0.8, 0.2, 0.0], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]]), image
    ),
}


def test_is_a_recomposer():
    assert isinstance(Detail(), Recomposer)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
@pytest.mark.parametrize("change", CHANGES)
def test_global_changes_are_recovered_at_full_size(name, change):
    image = photo(name)
    mask = central(image)
    result = recompose(image, mask, CHANGES[change])
    assert psnr(result, CHANGES[change](image).clamp(0, 1), mask) > 35


def test_a_local_change_is_followed_and_locality_turns_it_off():
    image = photo("chelsea")
    mask = central(image)
    ramp = torch.linspace(0.6, 1.1, image.shape[-1]).expand(1, *image.shape[-2:])
    small_ramp = squash(ramp)
    result = recompose(image, mask, lambda small: small * small_ramp, locality=1.0)
    flat = recompose(image, mask, lambda small: small * small_ramp, locality=0.0)
    assert psnr(result, image * ramp, mask) > 35
    assert psnr(flat, image * ramp, mask) < psnr(result, image * ramp, mask) - 8


def test_equal_branches_change_nothing_whatever_the_model_made_of_the_image():
    image = photo()
    branch = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    result = Detail().recompose(Composite("a", "b", image, central(image)), image, Edited(branch, branch, branch))
    assert (result - image).abs().max() < 0.5 / 255


def test_strength_scales_the_change():
    image = photo("chelsea") * 0.5 + 0.2
    mask = central(image)
    half, full = (recompose(image, mask, CHANGES["gain"], strength=value) for value in (0.5, 1.0))
    assert torch.equal(recompose(image, mask, CHANGES["gain"], strength=0.0), image)
    assert torch.allclose(half - image, (full - image) / 2, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 200), (200, 40), (129, 257)])
def test_any_aspect_ratio_and_bit_exact_background(shape):
    image = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    mask = central(image)
    result = recompose(image, mask, CHANGES["affine"], side=64)
    assert torch.equal(result * (1 - mask), image * (1 - mask))
    assert psnr(result, CHANGES["affine"](image), mask) > 30


def test_background_comes_from_the_composite_and_foreground_from_the_current_image():
    image = photo("chelsea")
    mask = central(image)
    current = (image * 0.5 + 0.1) * mask + 0.123 * (1 - mask)
    small = squash(image)
    result = Detail().recompose(Composite("a", "b", image, mask), current, Edited(small, small * 0.8, small))
    assert torch.equal(result * (1 - mask), image * (1 - mask))
    assert psnr(result, current * 0.8, mask) > 40


def test_soft_masks_blend():
    image = photo("chelsea") * 0.8
    mask = central(image)
    soft = F.avg_pool2d(F.pad(mask[None], (10, 10, 10, 10)), 21, 1)[0]
    result = recompose(image, soft, lambda small: small + 0.1)
    assert torch.allclose(result, image + 0.1 * soft, atol=0.01)
    assert torch.equal(result[:, soft[0] == 0], image[:, soft[0] == 0])


def test_texture_is_the_photos_own():
    image = photo()
    mask = central(image)
    noise = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0)) * 0.1
    blurred = F.avg_pool2d(F.pad(squash(image)[None], (2, 2, 2, 2), mode="replicate"), 5, 1)[0]
    edited = Edited(blurred, (blurred * 0.8 + noise).clamp(0, 1), squash(image))
    result = Detail().recompose(Composite("a", "b", image, mask), image, edited)
    inner = mask[0, 10:-10, 10:-10] > 0
    pair = torch.stack([high_pass(part)[:, 10:-10, 10:-10][:, inner].flatten() for part in (image, result)])
    assert torch.corrcoef(pair)[0, 1] > 0.97


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_and_saturated_regions_are_shifted_not_blown_up(value):
    image = torch.full((3, 90, 120), value)
    mask = central(image)
    result = recompose(image, mask, lambda small: small * 0.8 + 0.05, side=32)
    assert torch.isfinite(result).all()
    assert torch.allclose(result, image + mask * (0.05 - 0.2 * image), atol=0.01)


@pytest.mark.parametrize("level", [1.0, 0.3])
def test_one_pixel_masks(level):
    image = photo("coffee")
    mask = torch.zeros(1, *image.shape[-2:])
    mask[0, 211, 333] = level
    result = recompose(image, mask, lambda small: small * 0.7)
    changed = (result != image).any(0)
    assert changed.sum() == 1
    expected = image[:, 211, 333] * (1 - 0.3 * level)
    assert torch.allclose(result[:, 211, 333], expected, atol=0.06)


def test_an_empty_mask_leaves_the_photo():
    image = photo("coffee")
    assert torch.equal(recompose(image, torch.zeros(1, *image.shape[-2:]), CHANGES["gain"]), image)


def test_background_does_not_leak_into_the_fit():
    image = photo("coffee")
    mask = central(image)
    small, small_mask = squash(image), squash(mask)
    inside = (small_mask > 0).float()
    plain = Edited(small, small * 0.8, small)
    wild = Edited(small, small * 0.8 * inside + (1 - inside), small)
    composite = Composite("a", "b", image, mask)
    first, second = (Detail().recompose(composite, image, edited) for edited in (plain, wild))
    assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("size", [(97, 111), (17, 13), (40, 30), (5, 300)])
def test_maps_are_enlarged_as_torch_enlarges_the_whole(size):
    generator = torch.Generator().manual_seed(0)
    maps, square = torch.rand(3, 4, 40, 30, generator=generator) / 8, torch.rand(3, 3, generator=generator) / 8
    image, mask = torch.rand(3, *size, generator=generator) / 4, torch.rand(1, *size, generator=generator)
    mask[:, : size[0] // 4] = 0
    mask[:, :, -2:] = 0
    whole = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    added = (whole[:, :3] * image).sum(1) + whole[:, 3] + torch.einsum("ck,khw->chw", square, image**2)
    result = _apply(_Planes(maps, square), Composite("a", "b", image, mask), image)
    assert torch.allclose(result, image + mask * added, atol=1e-5)
    assert torch.equal(result[:, mask[0] == 0], image[:, mask[0] == 0])


WORDS = Description("cup", ("dim",), ("daylight",))


@pytest.mark.parametrize(("share", "factor"), [(0.5, 2.0), (1.0, 1.0), (2.0, 0.5), (-0.5, 0.0), (0.1, 2.0)])
def test_a_calibrated_change_goes_as_far_as_the_words_say(share, factor):
    image = 0.25 + 0.3 * torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(4))
    mask = central(image)
    edited = Edited(image, image + share * named_change(image, WORDS.foreground, WORDS.background), image, WORDS)
    composite = Composite("a", "b", image, mask)
    plain, calibrated = (Detail(calibrate=on).recompose(composite, image, edited) for on in (False, True))
    torch.testing.assert_close(calibrated - image, factor * (plain - image), atol=4e-3, rtol=0.02)
    assert torch.equal(calibrated[:, :4], image[:, :4])


def test_without_words_there_is_nothing_to_calibrate_by():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(4))
    edited = Edited(image, image * 0.8, image)
    composite = Composite("a", "b", image, central(image))
    plain, calibrated = (Detail(calibrate=on).recompose(composite, image, edited) for on in (False, True))
    assert torch.equal(plain, calibrated)
