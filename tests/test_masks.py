"""Which part of a mask file is the mask: one case for each kind of file, and a refusal for each kind of doubt."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffharmon.errors import InputError
from diffharmon.images import MaskRule, load_mask

HEIGHT, WIDTH = 40, 48
BOX = np.zeros((HEIGHT, WIDTH), np.uint8)
BOX[10:30, 8:28] = 255
SOFT = BOX.copy()
SOFT[9, 8:28] = 120
PHOTO = np.random.default_rng(0).integers(1, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * 756


def palette(labels, colours=VOC):
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette(colours)
    return image


def rgba(colour, alpha):
    return Image.fromarray(np.dstack([np.broadcast_to(colour, (HEIGHT, WIDTH, 3)), alpha]).astype(np.uint8), "RGBA")


def read(folder, image, rule=None, suffix="png"):
    path = folder / f"mask.{suffix}"
    image.save(path)
    mask = load_mask(path, rule)
    return (mask.values[0].numpy() * 255).round().astype(np.uint8), mask.source


CUT_OUT = np.where(BOX[..., None] > 0, PHOTO, 0)


@pytest.mark.parametrize(
    ("image", "expected", "source"),
    [
        (rgba(PHOTO, BOX), BOX, "alpha"),
        (rgba(PHOTO, SOFT), SOFT, "alpha"),
        (rgba(CUT_OUT, BOX), BOX, "alpha"),
        (rgba(PHOTO[..., :1], BOX), BOX, "alpha"),
        (rgba(BOX[..., None], BOX), BOX, "alpha"),
        (rgba(np.full(3, 255), SOFT), SOFT, "alpha"),
        (rgba(SOFT[..., None], np.full_like(BOX, 255)), SOFT, "grey"),
        (rgba(SOFT[..., None], 250 + PHOTO[..., 0] % 6), SOFT, "grey"),
        (Image.fromarray(np.dstack([PHOTO[..., 0], BOX]), "LA"), BOX, "alpha"),
        (palette(BOX > 0), BOX, "palette label 1"),
        (palette(np.where(BOX > 0, 3, 0)), BOX, "palette label 3"),
        (palette(BOX == 0, [255, 255, 0, 0, 0, 0] + [0] * 762), BOX, "palette label 0"),
        (palette(BOX == 0, [255] * 3 + [0] * 765), BOX, "grey"),
        (Image.fromarray(SOFT).convert("P"), SOFT, "grey"),
        (Image.fromarray(BOX // 255), BOX, "grey"),
        (Image.fromarray(BOX // 2), BOX, "grey"),
        (Image.fromarray(np.where(BOX > 0, 220, 35).astype(np.uint8)), BOX, "grey"),
        (Image.fromarray(np.dstack([BOX * 0, SOFT, BOX * 0])), SOFT, "green"),
        (Image.fromarray(np.dstack([BOX, BOX, BOX * 0])), BOX, "red"),
        (Image.fromarray(np.dstack([BOX // 2, BOX // 3, BOX])), BOX, "colour on black"),
        (Image.fromarray(SOFT.astype(np.uint16) * 257), SOFT, "grey"),
        (Image.fromarray((BOX // 255).astype(np.uint16)), BOX, "grey"),
    ],
)
def test_the_mask_of_every_kind_of_file(tmp_path, image, expected, source):
    values, found = read(tmp_path, image)
    assert found == source
    assert np.array_equal(values, expected)


@pytest.mark.parametrize("level", [1, 2, 7, 16])
def test_small_levels_are_background(tmp_path, level):
    values, _ = read(tmp_path, Image.fromarray(np.maximum(SOFT, level)))
    assert np.array_equal(values, SOFT)


@pytest.mark.parametrize("quality", [60, 75, 95])
def test_the_background_of_a_jpeg_mask_is_0(tmp_path, quality):
    big = Image.fromarray(BOX).resize((480, 400)).convert("RGB")
    path = tmp_path / "mask.jpg"
    big.save(path, quality=quality)
    mask = load_mask(path).values[0].numpy()
    far = np.asarray(big.convert("L").resize((480, 400))) == 0
    assert (mask[far] > 0).mean() < 0.01
    assert (mask[150:250, 120:240] > 0.9).all()


INSTANCES = BOX // 255 + 2 * (BOX[:, ::-1] // 255) * (BOX == 0)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (palette(INSTANCES), r"label map: its palette holds the labels 0, 1, 2, .* dataset\.label"),
        (palette(1 + BOX // 255), r"palette holds the labels 1, 2, expected two with black or 0"),
        (Image.fromarray(INSTANCES.astype(np.uint8)), r"empty or a label map: .* are 0, 1, 2, .* dataset\.label"),
        (Image.fromarray((INSTANCES * 120).astype(np.uint8)), r"whole regions of the levels 0, 120, 240"),
        (rgba(BOX[..., None], BOX[:, ::-1]), r"two masks that differ, .*grey channel .*alpha .*dataset\.mask_channel"),
        (Image.fromarray(PHOTO), r"channels differ \(red .*green .*blue .*dataset\.mask_channel"),
        (Image.fromarray(np.where(BOX[..., None] > 0, [255, 0, 0], [0, 0, 255]).astype(np.uint8)), "neither black"),
        (Image.fromarray(np.maximum(SOFT, 40)), r"darkest level of its grey channel is 40 of 255"),
    ],
)
def test_doubt_is_refused_naming_what_decides(tmp_path, image, says):
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path, image)
    assert "mask.png" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "rule", "expected"),
    [
        (palette(INSTANCES), MaskRule(label=2), np.where(INSTANCES == 2, 255, 0)),
        (Image.fromarray(INSTANCES.astype(np.uint8)), MaskRule(label=1), BOX),
        (Image.fromarray((INSTANCES * 120).astype(np.uint8)), MaskRule(label=240), np.where(INSTANCES == 2, 255, 0)),
        (rgba(BOX[..., None], BOX[:, ::-1]), MaskRule("grey"), BOX),
        (rgba(BOX[..., None], BOX[:, ::-1]), MaskRule("alpha"), BOX[:, ::-1]),
        (Image.fromarray(np.dstack([PHOTO[..., 0], PHOTO[..., 1], SOFT])), MaskRule("blue"), SOFT),
        (Image.fromarray(BOX // 2), MaskRule("grey"), BOX // 2),
        (Image.fromarray(np.maximum(SOFT, 40)), MaskRule("grey"), np.maximum(SOFT, 40)),
    ],
)
def test_settings_decide(tmp_path, image, rule, expected):
    values, source = read(tmp_path, image, rule)
    assert np.array_equal(values, expected)
    assert source == (rule.channel or f"label {rule.label}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channel": "a"}, r"dataset\.mask_channel must be one of alpha"),
        ({"label": -1}, r"dataset\.label must be"),
        ({"channel": "red", "label": 1}, "exclude each other"),
        ({"floor": 100}, "0 to 99"),
    ],
)
def test_settings_that_do_not_fit(options, says):
    with pytest.raises(InputError, match=says):
        MaskRule(**options)


def test_settings_that_the_file_does_not_have(tmp_path):
    with pytest.raises(InputError, match="no transparency"):
        read(tmp_path, Image.fromarray(BOX), MaskRule("alpha"))
    with pytest.raises(InputError, match=r"label=7 is not in .* holds the labels 0, 255"):
        read(tmp_path, Image.fromarray(BOX), MaskRule(label=7))
    with pytest.raises(InputError, match="has colours"):
        read(tmp_path, Image.fromarray(PHOTO), MaskRule(label=7))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["L", "RGB", "RGBA", "1", "I;16"]))
def test_black_and_white_comes_back_from_every_mode(tmp_path_factory, seed, kind):
    random = np.random.default_rng(seed)
    cover = (random.random((12, 14)) < 0.5) * np.uint8(255)
    cover[0, 0], cover[0, 1] = 0, 255
    image = Image.fromarray(cover.astype(np.uint16) * 257) if kind == "I;16" else Image.fromarray(cover).convert(kind)
    path = tmp_path_factory.mktemp("masks") / "mask.png"
    image.save(path)
    assert torch.equal(load_mask(path).values[0] * 255, torch.from_numpy(cover).float())
