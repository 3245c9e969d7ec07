"""Images held at the depth of their file: the floats that everybody else sees, bit for bit, in less memory."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional

from diffharmon import images
from diffharmon.api.harmonizer import Harmonizer
from diffharmon.evaluator.classifier import Classifier
from diffharmon.images.levels import from_samples, samples
from diffharmon.images.regions import shrink
from diffharmon.method.finite import finite
from diffharmon.recomposer.detail import Detail
from diffharmon.results.provenance.inputs import composite_digests
from diffharmon.types import Composite, Description, Edited, levels
from diffharmon.types.levels import Levels, Patch, floats, patched

HEIGHT, WIDTH = 40, 56


def stored(channels=3, kind=np.uint8, seed=0):
    high = np.iinfo(kind).max + 1
    return np.random.default_rng(seed).integers(0, high, (HEIGHT, WIDTH, channels)).astype(kind)


@pytest.fixture(autouse=True)
def hold_everything(monkeypatch):
    monkeypatch.setattr(levels, "WORTH_HOLDING", 0)
    monkeypatch.setattr(levels, "_BAND", 7 * WIDTH)


@pytest.fixture(params=[np.uint8, np.uint16], ids=["8 bits", "16 bits"])
def pair(request):
    peak = float(np.iinfo(request.param).max)
    values = stored(kind=request.param)
    plain = torch.from_numpy(values.transpose(2, 0, 1).astype(np.float32) / np.float32(peak)).contiguous()
    return from_samples(values, peak), plain


OPERATIONS = {
    "cut": lambda x: x[:, 3:19, 4:8],
    "from the end": lambda x: x[..., -9:, :-3],
    "every second": lambda x: x[:, ::2],
    "channel": lambda x: x[1],
    "one value": lambda x: x[0, 2, 3].item(),
    "where": lambda x: torch.where(x > 0.5, x, 1 - x),
    "compare": lambda x: (x > 0, x <= 100 / 255, x == 1),
    "pick": lambda x: x[:, x[0] > 0.5],
    "double": lambda x: x.double().mean(),
    "array": lambda x: np.asarray(x[0]),
    "permuted": lambda x: x.permute(1, 2, 0).contiguous().numpy(),
    "lists": lambda x: x[0, :2].tolist(),
    "copy": lambda x: x.clone().mul_(2),
    "same device": lambda x: x.cpu().detach().float(),
    "like": lambda x: torch.ones(2, dtype=torch.float64).to(x).dtype,
    "into": lambda x: torch.zeros(3, HEIGHT, WIDTH).copy_(x),
    "resized": lambda x: functional.interpolate(x[None], (7, 9), mode="bilinear", antialias=True),
    "pickled": lambda x: pickle.loads(pickle.dumps(x)),
    "copied": copy.deepcopy,
}


def equal(found, expected):
    if isinstance(expected, tuple):
        return all(map(equal, found, expected))
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    return np.array_equal(found, expected)


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_held_levels_are_read_like_their_floats(pair, operation, inference):
    held, plain = pair
    both = Patch(5, 7, torch.rand(3, 6, 8)), Patch(20, 0, torch.rand(3, 9, WIDTH))
    with torch.inference_mode(inference):
        assert isinstance(held, Levels)
        assert equal(operation(held), operation(plain))
        assert equal(operation(patched(held, both)), operation(patched(plain, both)))


def test_a_cut_stays_held(pair):
    held = patched(pair[0], [Patch(5, 7, torch.rand(3, 6, 8))])
    part = held[:, 4:9, 8:20]
    assert isinstance(part, Levels)
    assert part.levels.data_ptr() == held.levels[:, 4:9, 8:20].data_ptr()
    assert [tuple(patch.values.shape) for patch in part.patches] == [(3, 4, 7)]
    assert not held[:, 12:].patches


@pytest.mark.parametrize("write", [lambda x: x.mul_(2), lambda x: x[:, 1:3].fill_(0), lambda x: x.__setitem__(0, 1)])
def test_held_levels_are_not_written_to(pair, write):
    with pytest.raises(RuntimeError, match=r"read only, expected a clone\(\)"):
        write(pair[0])


def test_gradients_flow_past_held_levels(pair):
    held, plain = pair
    weight = torch.rand_like(plain).requires_grad_()
    (weight * held).sum().backward()
    assert torch.equal(weight.grad, plain)


def test_samples_of_held_levels_are_the_file_s(pair):
    held, plain = pair
    assert np.array_equal(samples(held, 8), samples(plain, 8))
    assert np.array_equal(samples(held, 16), samples(plain, 16))


@pytest.mark.parametrize("resample", images.FILTERS)
def test_resizing_and_shrinking_by_bands_change_nothing(pair, resample):
    from PIL import Image

    held, plain = pair
    alpha = torch.rand(1, HEIGHT, WIDTH)
    rgba = Image.fromarray(samples(torch.cat((plain, alpha)), 8))
    for size in ((16, 24), (HEIGHT, 24), (90, WIDTH)):
        expected = np.asarray(rgba.resize(size[::-1], images.FILTERS[resample]))[..., :3]
        assert np.array_equal(samples(images.resize(held, size, resample, alpha), 8), expected)
        expected = np.asarray(rgba.convert("RGB").resize(size[::-1], images.FILTERS[resample]))
        assert np.array_equal(samples(images.resize(held, size, resample), 8), expected)
    assert torch.equal(shrink(held, 16), shrink(plain, 16))


def test_what_is_not_finite_in_a_patch_is_found(pair):
    values = torch.full((3, 2, 2), 0.5)
    assert finite(patched(pair[0], [Patch(3, 4, values)]))
    values[1, 0, 1] = float("nan")
    assert not finite(patched(pair[0], [Patch(3, 4, values)]))


def mask_plane():
    plane = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    plane[8:20, 10:20], plane[26:34, 30:50] = 255, 255
    plane[8:20, 10, 0], plane[8:20, 19] = range(60, 180, 10), 100
    return plane


def test_recomposition_holds_the_photo_once_and_changes_nothing():
    photo, mask = (from_samples(values, 255.0) for values in (stored(), mask_plane()))
    held = Composite("a", "", photo, mask)
    plain = Composite("a", "", floats(photo), floats(mask))
    small = torch.rand(3, 16, 16)
    edited = Edited(small, (small * 0.7 + 0.1).clamp(0, 1), small)
    results = []
    for composite in (held, plain):
        first = Detail().recompose(composite, composite.image, edited)
        results.append((first, Detail().recompose(composite, first, edited)))  # as a second iteration does
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    result = results[0][1]
    assert isinstance(result, Levels)
    assert result.levels.data_ptr() == photo.levels.data_ptr()
    assert sum(patch.values[0].numel() for patch in result.patches) < 300  # no wider than the mask
    assert composite_digests(held) == composite_digests(plain)
    classifier, words = Classifier(), Description("cat", ("dim",), ("bright",))
    scores = [classifier.score(image, cover, words) for image, cover in ((result, mask), (floats(result), plain.mask))]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("suffix", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_a_call_gives_the_same_for_held_and_plain_photos(suffix, tmp_path, monkeypatch):
    from PIL import Image

    array = stored()
    photo, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    deep = suffix == "I;16"
    Image.fromarray(stored(1, np.uint16)[..., 0] if deep else array).convert(suffix).save(photo)
    Image.fromarray(mask_plane()[..., 0]).save(mask)
    found = []
    for worth in (0, 1 << 30):
        monkeypatch.setattr(levels, "WORTH_HOLDING", worth)
        result = Harmonizer("method=reinhard")(photo, mask)
        assert isinstance(result.composite.image, Levels) == (worth == 0)
        assert not isinstance(result.harmonized, Levels)
        saved = result.save(tmp_path / f"{worth}.png")
        images.check_background(saved, result.composite)
        found.append((saved.read_bytes(), result.harmonized, np.asarray(result.image)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    assert np.array_equal(found[0][2], found[1][2])
