"""Composites for the reader of light, and the loss it is trained on."""

import numpy as np
import pytest
import torch

from diffharmon.condition.cielab import rgb_to_lab
from diffharmon.condition.reader import statistics
from diffharmon.condition.relighting import Relighting
from diffharmon.training.composite_ways import WAYS, Relight, to_lab, to_rgb
from diffharmon.training.harmony_samples import HarmonySampler
from diffharmon.training.light_reading import errors, true_change, unpaired, weights
from diffharmon.training.photos import Photos
from diffharmon.training.reader_samples import ReaderSampler, WordSampler, whole_frame


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
    change = Relight(Relighting.from_archive(archive))(colours(1), colours(2), np.random.default_rng(0))
    assert 0 < np.abs(change.object(colours(1)) - colours(1)).mean() < 0.4


def samplers(photos: Photos) -> list:
    """Both kinds of pairs."""
    return [ReaderSampler(photos, 32, WAYS, {"curves": 1.0, "retouch": 1.0}), WordSampler(HarmonySampler(photos, 32))]


@pytest.mark.parametrize("kind", [0, 1])
def test_a_sample_depends_on_its_generator_alone(photos: Photos, kind: int):
    sampler = samplers(photos)[kind]
    first, again, other = (sampler(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["image"], other["image"])
    assert first["measured"].shape == (2, statistics.COUNT)
    assert first["image"].min() >= 0
    assert first["image"].max() <= 1


@pytest.mark.parametrize("kind", [0, 1])
def test_a_pair_differs_in_the_foreground_and_agrees_far_from_it(photos: Photos, kind: int):
    drawn = [samplers(photos)[kind](torch.Generator().manual_seed(seed)) for seed in range(6)]
    inside, outside = [], []
    for sample in drawn:
        apart = (sample["image"][0] - sample["image"][1]).abs().mean(0)
        inside.append(apart[sample["parts"][0] > 0].mean())
        far = (sample["parts"][0] == 0) & (sample["parts"][2] == 0)
        outside.append(apart[far].mean() if far.any() else torch.tensor(0.0))
        assert (sample["before"] != sample["after"]).any()
    assert torch.stack(outside).mean() < 0.3 * torch.stack(inside).mean()


def test_pairs_are_laid_out_as_composite_and_photo_in_turn(photos: Photos):
    drawn = [samplers(photos)[0](torch.Generator().manual_seed(seed)) for seed in range(3)]
    batch = {key: torch.stack([sample[key] for sample in drawn]) for key in drawn[0]}
    both = unpaired(batch)
    assert both["altered"].tolist() == [1, 0] * 3
    assert torch.equal(both["image"][2], drawn[1]["image"][0])
    assert torch.equal(both["image"][3], drawn[1]["image"][1])
    assert torch.equal(both["measured"][5], drawn[2]["measured"][1])
    assert torch.equal(both["before"][1], both["after"][1])
    assert torch.equal(both["before"][0], drawn[0]["before"])
    assert torch.equal(both["parts"][4], both["parts"][5])


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
    sampler = ReaderSampler(photos, 32, WAYS, {"reinhard": 1.0})
    drawn = [sampler(torch.Generator().manual_seed(seed)) for seed in range(8)]
    batch = unpaired({key: torch.stack([sample[key] for sample in drawn]) for key in drawn[0]})
    left, original = errors(batch, true_change(batch))
    unchanged, same = errors(batch, torch.zeros(16, 6))
    torch.testing.assert_close(original, same)
    torch.testing.assert_close(unchanged, original, atol=1e-4, rtol=1e-3)
    assert (left < original)[::2].float().mean() > 0.8
    assert not original[1::2].any()
    assert (weights(batch)[1::2] < weights(batch)[::2]).all()
    assert (weights(batch) > 0).all()
