import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from diffharmon.condition import grades
from diffharmon.training.captions import GENERIC_OBJECTS
from diffharmon.training.harmony_samples import HarmonySampler, compress, moments, spoil, transfer_colours
from diffharmon.training.latents import token_weights
from diffharmon.training.photos import Photos
from diffharmon.training.synthesis import ConditionSampler, foreground_psnr, jittered_crop, random_crop, triples


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_samples_repeat_with_their_seed(photos: Photos) -> None:
    sampler = ConditionSampler(photos, 32)
    for seed in range(6):
        first, second = sampler(seeded(seed)), sampler(seeded(seed))
        assert torch.equal(first.image, second.image)
        assert first.caption == second.caption
        assert first.image.shape == (3, 32, 32)
        assert 0 <= first.image.min() <= first.image.max() <= 1


def test_captions_name_known_objects_or_generic_ones(photos: Photos) -> None:
    generator = seeded()
    nouns = {ConditionSampler(photos, 32)(generator).noun for _ in range(80)}
    assert nouns <= {"car", "street", *GENERIC_OBJECTS}
    assert {"car", *GENERIC_OBJECTS} <= nouns


def test_triples_differ_in_the_foreground_only(photos: Photos) -> None:
    made = triples(photos, 8, 32)
    assert 0 < len(made) <= 8
    for triple in made:
        outside = triple.mask == 0
        assert torch.equal(triple.real.masked_select(outside), triple.composite.masked_select(outside))
        assert 5 < foreground_psnr(triple.composite, triple.real, triple.mask) < 40


def test_foreground_psnr_agrees_with_scikit_image() -> None:
    image, real = torch.rand(3, 9, 7, generator=seeded(1)), torch.rand(3, 9, 7, generator=seeded(2))
    mask = (torch.rand(1, 9, 7, generator=seeded(3)) > 0.5).float()
    inside = mask.bool().expand(3, -1, -1)
    expected = peak_signal_noise_ratio(real[inside].numpy(), image[inside].numpy(), data_range=1.0)
    assert foreground_psnr(image, real, mask).item() == pytest.approx(expected, abs=1e-3)


def test_the_whole_frame_is_kept_when_asked() -> None:
    layers = torch.rand(2, 20, 20)
    cropped = random_crop(layers, 20, 10, 1.0, seeded())
    assert torch.equal(cropped, layers) or torch.equal(cropped, layers.flip(-1))


def test_jittered_crops_are_images(photos: Photos) -> None:
    for seed in range(5):
        crop = jittered_crop(photos, 16, seeded(seed))
        assert crop.shape == (3, 16, 16)
        assert 0 <= crop.min() <= crop.max() <= 1


def test_a_pair_shares_its_background_and_differs_in_front(photos: Photos) -> None:
    sampler = HarmonySampler(photos, 32)
    differences = []
    for seed in range(12):
        pair = sampler(seeded(seed))
        assert {name: tuple(value.shape) for name, value in pair.items()} == {
            "real": (3, 32, 32),
            "composite": (3, 32, 32),
            "mask": (1, 32, 32),
            "shift": (6,),
        }
        error = (pair["real"] - pair["composite"]).abs().mean(0)
        inside = pair["mask"][0] > 0.9
        outside = torch.nn.functional.max_pool2d(pair["mask"][None], 17, 1, 8)[0, 0] == 0
        if inside.any() and outside.any():
            differences.append((error[inside].mean(), error[outside].mean()))
    assert len(differences) > 3
    assert all(front > 2 * back for front, back in differences)


def test_transferred_colours_have_the_wanted_mean() -> None:
    image, other = 0.4 + 0.2 * torch.rand(3, 12, 12), 0.3 + 0.2 * torch.rand(3, 12, 12)
    mask = torch.ones(1, 12, 12)
    moved = moments(transfer_colours(image, mask, other, mask), mask)[0]
    assert torch.allclose(moved, moments(other, mask)[0], atol=1e-3)


def test_moments_agree_with_numpy() -> None:
    image = torch.rand(3, 6, 6)
    mask = (torch.rand(1, 6, 6) > 0.4).float()
    mean, spread = moments(image, mask)
    inside = image.numpy()[:, mask[0].bool().numpy()]
    assert np.allclose(mean.flatten(), inside.mean(1), atol=1e-5)
    assert np.allclose(spread.flatten(), inside.std(1), atol=1e-3)


def test_spoilt_masks_stay_masks() -> None:
    mask = torch.zeros(1, 24, 24)
    mask[:, 8:16, 8:16] = 1
    spoilt = [spoil(mask, seeded(seed)) for seed in range(30)]
    assert all(0 <= value.min() <= value.max() <= 1 for value in spoilt)
    areas = [value.sum() for value in spoilt]
    assert min(areas) < mask.sum() < max(areas)


def test_compression_changes_little_at_high_quality() -> None:
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), 32, mode="bilinear")[0]
    assert (compress(image, 95) - image).abs().mean() < 0.02


def test_graded_words_lie_between_neutral_and_full(photos: Photos) -> None:
    image = torch.rand(3, 8, 8, generator=seeded(4)) * 0.6 + 0.2
    apart = []
    for weight in (0.1, 0.5, 1.0):
        draws = [grades.sample(("dark",), seeded(seed), weights=(weight,))(image) for seed in range(20)]
        apart.append((torch.stack(draws).mean() - image.mean()).abs().item())
    assert apart == sorted(apart)
    sampler = ConditionSampler(photos, 32, graded=1.0, untouched=0.0)
    for seed in range(8):
        drawn = sampler(seeded(seed))
        assert drawn.words == ("daylight",) or len(drawn.weights) == len(drawn.words)
        assert all(0.1 <= weight <= 1 for weight in drawn.weights)
    assert all(len(one.weights) == len(one.words) for one in triples(photos, 4, 32, graded=1.0))


def test_the_weights_of_a_caption_lie_on_the_tokens_of_its_words() -> None:
    tokens = torch.tensor([[1, 5, 6, 7, 2, 2], [1, 5, 6, 2, 2, 2]])  # begin, noun, words, end and padding
    laid = token_weights(tokens, [(0.25, 0.5), ()], 2)
    assert laid.tolist() == [[1, 1, 0.25, 0.5, 1, 1], [1] * 6]
