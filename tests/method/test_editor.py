"""Oracle edits: the true photo as an editor would return it, moved, resized, recompressed."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from diffharmon import images
from diffharmon.dataset.mini import Mini
from diffharmon.errors import ConfigError, InputError, ModelError
from diffharmon.method.editor import Editor, extend, remove_drift
from diffharmon.method.registration import register
from diffharmon.metrics.pixels import fpsnr
from diffharmon.protocols import Method
from diffharmon.recomposer.detail import Detail
from diffharmon.types import ignore

NAMES = ("coffee_1_1", "chelsea_1_2", "rocket_1_2")


@pytest.fixture(scope="module")
def composites():
    data = Mini()
    return {data.name(index): halved(data[index]) for index in range(len(data)) if data.name(index) in NAMES}


def halved(composite):
    """The same photo at half the size, which takes a fraction of the time to register."""
    sides = [side // 2 for side in composite.image.shape[1:]]
    parts = {name: getattr(composite, name)[None] for name in ("image", "mask", "real")}
    small = {name: functional.interpolate(part, sides, mode="area")[0] for name, part in parts.items()}
    return replace(composite, **{**small, "mask": (small["mask"] > 0.5).float()})


@pytest.fixture(scope="module")
def gain_in_place(composites, tmp_path_factory):
    """What an edit of a size gains that shows the photo where it is."""

    @cache
    def measure(name, size):
        composite = composites[name]
        picture = moved(array(composite.real), size=size)
        return gain(composite, harmonize(composite, picture, tmp_path_factory.mktemp("still")))

    return measure


def array(image):
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def moved(image, degrees=0.0, zoom=1.0, shift=(0.0, 0.0), size=None, quality=85, colour=(1.0, 1.0, 1.0)):
    """Turn, zoom, shift, resize and recompress a picture; what comes in at the border is its mirror image."""
    height, width = image.shape[:2]
    turn, scale = np.deg2rad(degrees), zoom
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([width / 2, height / 2])
    offset = centre - linear @ centre + np.array(shift) * (width, height)
    warp = np.hstack((linear, offset[:, None]))
    picture = cv2.warpAffine(image, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    picture = cv2.resize(picture * np.float32(colour), size or (width, height), interpolation=cv2.INTER_CUBIC)
    eight = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", eight, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


def gain(composite, result):
    rounded = images.from_uint8(images.to_uint8(result))
    mask = (composite.mask > 0.5).float()
    return fpsnr(rounded, composite.real, mask) - fpsnr(composite.image, composite.real, mask)


def harmonize(composite, picture, folder, **options):
    cv2.imwrite(str(folder / f"{composite.name}.png"), picture[..., ::-1])
    method = Editor(Detail(locality=0.5), str(folder), **options)
    assert isinstance(method, Method)
    return method.harmonize(composite.blind(), ignore).best.image


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change",
    [
        {"zoom": 1.015, "shift": (0.01, -0.008)},
        {"zoom": 1.04},
        {"degrees": -2.0, "zoom": 0.96, "shift": (0.05, -0.05), "size": (512, 512)},
        {"degrees": 2.0, "zoom": 1.04, "shift": (-0.05, 0.05), "size": (450, 250)},
    ],
)
def test_a_moved_edit_loses_little_against_one_in_place(composites, gain_in_place, name, change, tmp_path):
    composite = composites[name]
    found = gain(composite, harmonize(composite, moved(array(composite.real), **change), tmp_path))
    assert found > gain_in_place(name, change.get("size")) - 4
    assert found > 10


def test_the_background_is_the_composites_bit_for_bit(composites, tmp_path):
    composite = composites["coffee_1_1"]
    result = harmonize(composite, moved(array(composite.real), zoom=1.03, colour=(1, 0.9, 0.8)), tmp_path)
    outside = composite.mask[0] == 0
    assert torch.equal(result[:, outside], composite.image[:, outside])


def test_a_drift_that_the_background_shows_too_is_no_part_of_the_edit(composites, tmp_path):
    composite = composites["coffee_1_1"]
    drifted = moved(array(composite.real), colour=(0.8, 0.9, 1.0))
    corrected = gain(composite, harmonize(composite, drifted, tmp_path))
    uncorrected = gain(composite, harmonize(composite, drifted, tmp_path, correct_drift=False))
    assert corrected > uncorrected + 5


def test_an_unrelated_picture_is_refused(composites, tmp_path):
    with pytest.raises(ModelError, match="does not show the composite's background"):
        harmonize(composites["coffee_1_1"], moved(array(composites["rocket_1_2"].real)), tmp_path)


def test_a_mask_without_background_is_refused():
    picture = np.random.default_rng(0).random((64, 64, 3), np.float32)
    with pytest.raises(ModelError, match="almost no background"):
        register(picture, picture, np.ones((64, 64), np.float32))


def test_the_map_leads_from_the_composite_to_the_edit():
    photo = cv2.GaussianBlur(np.random.default_rng(0).random((300, 400, 3), np.float32), (0, 0), 3)
    photo = (photo - photo.min()) / (photo.max() - photo.min())
    edit = moved(photo, zoom=1.02, shift=(0.03, -0.02)).astype(np.float32) / 255
    found = register(photo, edit, np.zeros((300, 400), np.float32))
    # Pixel centres: a zoom about half the width differs from one about its middle pixel by 1 % of a pixel.
    np.testing.assert_allclose(found.matrix @ [0.5, 0.5, 1], [0.53, 0.48, 1], atol=1e-3)
    np.testing.assert_allclose(found.matrix @ [1, 1, 1], [1.04, 0.99, 1], atol=2e-3)
    assert found.agreement > 0.9


def test_changes_continue_beyond_the_edits_border():
    photo = np.full((20, 30, 3), 0.5, np.float32)
    covered = np.ones((20, 30), bool)
    covered[:, 25:] = False
    edit = np.where(covered[..., None], photo + 0.1, 0).astype(np.float32)
    np.testing.assert_allclose(extend(photo, edit, covered), photo + 0.1, atol=1e-3)


def test_a_flat_background_shifts_colours_and_scales_none():
    photo, edit = np.full((20, 20, 3), 0.5, np.float32), np.full((20, 20, 3), 0.4, np.float32)
    edit[5:9, 5:9] = 0.6
    compared = np.ones((20, 20), bool)
    compared[5:9, 5:9] = False
    np.testing.assert_allclose(remove_drift(photo, edit, compared)[6, 6], 0.7, atol=1e-6)


def test_missing_and_double_edits_and_folders_are_named(composites, tmp_path):
    composite = composites["coffee_1_1"]
    with pytest.raises(ConfigError, match=r"edits: .*nowhere"):
        Editor(Detail(), str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="found none"):
        Editor(Detail(), str(tmp_path)).harmonize(composite, ignore)
    for suffix in ("png", "jpg"):
        cv2.imwrite(str(tmp_path / f"{composite.name}.{suffix}"), moved(array(composite.real)))
    with pytest.raises(InputError, match=r"coffee_1_1\.jpg, coffee_1_1\.png"):
        Editor(Detail(), str(tmp_path)).harmonize(composite, ignore)
