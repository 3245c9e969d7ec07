"""Identity and classical colour transfer."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from diffharmon.errors import InputError
from diffharmon.method.color_transfer import TRANSFERS, ColorTransfer, histogram, mkl, reinhard
from diffharmon.method.identity import Identity
from diffharmon.protocols import Method
from diffharmon.types import Composite, ignore

CONF = Path(__file__).resolve().parents[2] / "conf"
KINDS = sorted(TRANSFERS)


def photo() -> torch.Tensor:
    return torch.from_numpy(skimage.data.astronaut()[::4, ::4].copy()).permute(2, 0, 1).float() / 255


def composite(mask: torch.Tensor | None = None, image: torch.Tensor | None = None) -> Composite:
    image = photo() if image is None else image
    if mask is None:
        mask = torch.zeros(1, *image.shape[1:])
        mask[:, 30:90, 40:100] = 1
    return Composite("astronaut", "test", image, mask)


def pixels(seed: int, count: int, low: float = 0.3, high: float = 0.6) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = generator.uniform(-0.5, 0.5, (3, 3))
    return (generator.uniform(-0.3, 0.3, (count, 3)) @ mixing + generator.uniform(low, high, 3)).clip(0, 1)


def test_identity_returns_the_composite():
    given = composite()
    assert isinstance(Identity(), Method)
    result = Identity().harmonize(given, ignore)
    assert torch.equal(result.best.image, given.image)
    assert (result.best.iteration, result.best.score.value, result.reason) == (-1, 0.0, "not scored")
    assert result.attempts == (result.best,)


def test_mkl_gives_mean_and_covariance_of_the_target():
    source, target = pixels(0, 500), pixels(1, 900)
    moved = mkl(source, target)
    np.testing.assert_allclose(moved.mean(axis=0), target.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.cov(moved.T, bias=True), np.cov(target.T, bias=True), atol=2e-5)


def test_mkl_is_the_gradient_of_a_convex_function():
    """The optimal map is symmetric positive definite; any other map with the same covariance is not."""
    source, target = pixels(0, 500), pixels(1, 900)
    centred = source - source.mean(axis=0)
    mapping, *_ = np.linalg.lstsq(centred, mkl(source, target) - target.mean(axis=0), rcond=None)
    np.testing.assert_allclose(mapping, mapping.T, atol=1e-9)
    assert np.linalg.eigvalsh(mapping).min() > 0


def test_reinhard_gives_mean_and_deviation_of_the_target_in_cielab():
    source, target = (0.4 + 0.2 * pixels(seed, 700) for seed in (2, 3))  # well inside the gamut
    moved, wanted = (
        cv2.cvtColor(values[:, None].astype(np.float32), cv2.COLOR_RGB2LAB)[:, 0]
        for values in (reinhard(source, target), target)
    )
    np.testing.assert_allclose(moved.mean(axis=0), wanted.mean(axis=0), atol=0.1)  # cv2 is only this exact
    np.testing.assert_allclose(moved.std(axis=0), wanted.std(axis=0), atol=0.1)


def test_reinhard_clips_colours_out_of_gamut_without_a_warning():
    source, target = pixels(2, 500), np.random.default_rng(0).choice([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]], 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved = reinhard(source, target)
    assert 0 <= moved.min() <= moved.max() <= 1


def test_histogram_gives_quantiles_of_the_target():
    source, target = pixels(4, 4000), pixels(5, 4000)
    moved = histogram(source, target)
    steps = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(moved, steps, axis=0), np.quantile(target, steps, axis=0), atol=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_transfer_to_itself_changes_nothing(kind):
    source = pixels(6, 300)
    np.testing.assert_allclose(TRANSFERS[kind](source, source), source, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_background_stays_bit_for_bit_and_foreground_moves(kind):
    given = composite()
    before = given.image.clone()
    result = ColorTransfer(kind).harmonize(given, ignore)
    image, inside = result.best.image, given.mask.expand(3, -1, -1) > 0
    assert torch.equal(given.image, before)
    assert torch.equal(image[~inside], before[~inside])
    assert not torch.allclose(image[inside], before[inside], atol=0.02)
    assert image.dtype == before.dtype
    assert image.isfinite().all()
    assert 0 <= image.min() <= image.max() <= 1
    assert result.best.iteration == 0
    assert result.costs["transfer"].seconds > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_graded_foreground_comes_back(kind):
    """A foreground with the background's own statistics, graded away, is brought nearer to what it was."""
    real = torch.from_numpy(skimage.data.coffee()[:256, :256].copy()).permute(2, 0, 1).float()[:, ::2, ::2] / 255
    texture = torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0)) * 0.2
    real = (real.mean(dim=(1, 2), keepdim=True) * 0.7 + texture).clamp(0, 1)
    mask = torch.zeros(1, 128, 128)
    mask[:, 40:90, 40:90] = 1
    graded = real * (1 - mask) + mask * (real * torch.tensor([0.5, 0.8, 1.1]).view(3, 1, 1)).clamp(0, 1)
    moved = ColorTransfer(kind).harmonize(composite(mask, graded), ignore).best.image
    assert (moved - real).square().mean() < 0.05 * (graded - real).square().mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flat", ["foreground", "background", "both", "one pixel"])
def test_flat_and_tiny_regions_give_finite_colours(kind, flat):
    image, mask = photo(), torch.zeros(1, 128, 128)
    mask[:, 30:90, 40:100] = 1
    inside = mask.expand(3, -1, -1) > 0
    if flat in ("foreground", "both"):
        image[inside] = 0.2
    if flat in ("background", "both"):
        image[~inside] = 0.7
    if flat == "one pixel":
        mask = torch.zeros_like(mask)
        mask[:, 64, 64] = 1
        inside = mask.expand(3, -1, -1) > 0
    moved = ColorTransfer(kind).harmonize(composite(mask, image), ignore).best.image
    assert moved.isfinite().all()
    if flat == "both":
        torch.testing.assert_close(moved[inside], torch.full_like(moved[inside], 0.7), atol=5e-3, rtol=0)


def test_soft_masks_blend():
    mask = torch.zeros(1, 128, 128)
    mask[:, 30:90, 40:100] = 1
    hard = ColorTransfer().harmonize(composite(mask), ignore).best.image
    soft_mask = mask.clone()
    soft_mask[:, 30:90, 40:45] = 0.5
    soft = ColorTransfer().harmonize(composite(soft_mask), ignore).best.image
    expected = 0.5 * hard + 0.5 * photo()
    torch.testing.assert_close(soft[:, 30:90, 40:45], expected[:, 30:90, 40:45])
    torch.testing.assert_close(soft[:, 30:90, 45:100], hard[:, 30:90, 45:100])


def test_band_sees_only_what_is_near():
    mask = torch.zeros(1, 128, 128)
    mask[:, 50:80, 50:80] = 1
    far, near = photo(), photo()
    far[:, :30] = 0  # 20 rows and more away from an object of 30
    near[:, 40:45] = 0
    local = ColorTransfer(band=0.5)
    inside = mask.expand(3, -1, -1) > 0
    plain = local.harmonize(composite(mask), ignore).best.image[inside]
    assert torch.equal(local.harmonize(composite(mask, far), ignore).best.image[inside], plain)
    assert not torch.equal(local.harmonize(composite(mask, near), ignore).best.image[inside], plain)
    everywhere = ColorTransfer().harmonize(composite(mask, far), ignore).best.image[inside]
    assert not torch.equal(everywhere, ColorTransfer().harmonize(composite(mask), ignore).best.image[inside])


def test_strength_goes_from_nothing_to_all():
    given = composite()
    none, half, full = (ColorTransfer(strength=s).harmonize(given, ignore).best.image for s in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, given.image)
    torch.testing.assert_close(half, (none + full) / 2)


def test_bad_masks_are_refused():
    with pytest.raises(InputError, match="no foreground"):
        ColorTransfer().harmonize(composite(torch.zeros(1, 128, 128)), ignore)
    with pytest.raises(InputError, match="no background"):
        ColorTransfer().harmonize(composite(torch.ones(1, 128, 128)), ignore)


@pytest.mark.parametrize("choice", ["identity", "reinhard", "reinhard_near", "colour_map", "mkl", "histogram"])
def test_choices_build_and_run(choice):
    with initialize_config_dir(str(CONF), version_base=None):
        method = instantiate(compose(None, [f"+method={choice}"]).method, _convert_="all")
    assert isinstance(method, Method)
    assert method.harmonize(composite(), ignore).best.image.isfinite().all()
