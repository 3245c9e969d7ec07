"""Composites for the reader of light, and the loss it is trained on."""

import numpy as np
import pytest
import torch

from diffharmon.condition.cielab import rgb_to_lab
from diffharmon.condition.reader import statistics
from diffharmon.training.composite_ways import WAYS, Relight, to_lab, to_rgb
from diffharmon.training.photos import Photos
from diffharmon.training.reader import errors, true_change, weights
from diffharmon.training.reader_samples import ReaderSampler, whole_frame


def colours(seed: int, low: float = 0.2, high: float = 0.7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (300, 3)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(WAYS))
def test_a_way_maps_colours_to_colours_and_changes_them(name):
    changed = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        change = WAYS[name](colours(1), colours(2, 0.4, 0.9), rng)
        result = change.object(colours(1))
        frame = colours(1) if change.frame is None else change.frame(colours(1))
        assert result.shape == colours(1).shape
        assert (result >= 0).all()
        assert (result <= 1).all()
        changed.append(np.abs(result - frame).mean())
    assert max(changed) > 0.01


@pytest.mark.parametrize("name", ["quantile", "reinhard", "covariance"])
def test_a_transfer_moves_the_mean_towards_the_reference(name):
    own, other = colours(1, 0.1, 0.4), colours(2, 0.5, 0.9)
    for seed in range(5):
        moved = WAYS[name](own, other, np.random.default_rng(seed)).object(own)
        assert abs(moved.mean() - other.mean()) < 0.6 * abs(own.mean() - other.mean())


def test_a_retouched_object_stands_out_of_a_darker_frame():
    drawn = [WAYS["retouch"](colours(1), colours(1), np.random.default_rng(seed)) for seed in range(40)]
    frame, inside = (
        np.mean([part(colours(1)).mean() for part in parts])
        for parts in zip(*[(d.frame, d.object) for d in drawn], strict=True)
    )
    assert frame < inside


def test_cielab_of_colours_goes_both_ways():
    np.testing.assert_allclose(to_rgb(to_lab(colours(3))), colours(3), atol=2e-3)
    np.testing.assert_allclose(to_lab(colours(3)), rgb_to_lab(torch.from_numpy(colours(3))).numpy(), atol=0.4)


def test_measured_relighting_reads_its_archive(shared):
    archive = shared / "weights" / "ccharmony" / "polynomial_matching_coefficients.zip"
    change = Relight.from_archive(str(archive))(colours(1), colours(2), np.random.default_rng(0))
    assert 0 < np.abs(change.object(colours(1)) - colours(1)).mean() < 0.4


def test_a_sample_depends_on_its_generator_alone(photos: Photos):
    sampler = ReaderSampler(photos, 32, WAYS, {"quantile": 1.0, "retouch": 1.0})
    first, again, other = (sampler(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["image"], other["image"])
    assert first["measured"].shape == (statistics.COUNT,)
    assert first["image"].min() >= 0
    assert first["image"].max() <= 1


def test_an_untouched_sample_has_nothing_to_mend_and_a_composite_has(photos: Photos):
    untouched = ReaderSampler(photos, 32, WAYS, {"curves": 1.0}, untouched=1.0)(torch.Generator().manual_seed(0))
    assert torch.equal(untouched["before"], untouched["after"])
    assert untouched["altered"] == 0
    composite = ReaderSampler(photos, 32, WAYS, {"curves": 1.0}, untouched=0.0)(torch.Generator().manual_seed(0))
    error = (composite["before"] - composite["after"]).square().mean()
    assert -10 * error.log10() < 40
    assert composite["altered"] == 1


def test_an_unknown_way_is_refused_by_name(photos: Photos):
    with pytest.raises(ValueError, match="named \\['relight'\\]"):
        ReaderSampler(photos, 32, WAYS, {"relight": 1.0})


def test_the_whole_frame_changes_photo_and_composite_alike():
    rng = np.random.default_rng(5)
    frame = next(
        found for found in iter(lambda: whole_frame(rng), None) if found(np.full((2, 2, 3), 0.5))[0, 0, 0] != 0.5
    )
    picture = colours(1).reshape(20, 15, 3)
    np.testing.assert_array_equal(frame(picture), frame(picture.copy()))


def test_the_true_change_leaves_least_and_no_change_leaves_all(photos: Photos):
    sampler = ReaderSampler(photos, 32, WAYS, {"reinhard": 1.0}, untouched=0.0)
    drawn = [sampler(torch.Generator().manual_seed(seed)) for seed in range(8)]
    batch = {key: torch.stack([sample[key] for sample in drawn]) for key in drawn[0]}
    left, original = errors(batch, true_change(batch))
    unchanged, same = errors(batch, torch.zeros(8, 6))
    torch.testing.assert_close(original, same)
    torch.testing.assert_close(unchanged, original, atol=1e-4, rtol=1e-3)
    assert (left < original).float().mean() > 0.8
    assert (weights(batch) > 0).all()
