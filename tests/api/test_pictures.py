"""Pictures in memory are read as files of them are: never with other values, never in doubt."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from diffharmon import images
from diffharmon.api.inputs import compose_cut_out, read_composite
from diffharmon.api.pictures import give_back, load, load_mask
from diffharmon.errors import InputError
from diffharmon.images.colour import made_profile
from diffharmon.images.tags import _D65, _PRIMARIES

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (24, 32, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (24, 32), np.uint16)
COVER = np.zeros((24, 32), np.uint8)
COVER[6:18, 8:24] = 255
P3 = made_profile(_D65, _PRIMARIES[12], "srgb")


def of_mode(mode):
    if mode == "I;16":
        return Image.fromarray(DEEP), ".png"
    if mode == "F":
        return Image.fromarray(DEEP.astype(np.float32) / 65535), ".tif"
    if mode == "PA":
        return Image.fromarray(np.dstack([COLOURS, COVER])).quantize(32), ".png"
    return Image.fromarray(COLOURS).convert(mode), ".tif" if mode == "CMYK" else ".png"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_an_image_of_any_mode_is_read_as_its_file(tmp_path, mode):
    picture, suffix = of_mode(mode)
    picture.save(tmp_path / f"a{suffix}")
    wanted, found = (load(one, "composite").picture for one in (tmp_path / f"a{suffix}", picture))
    assert torch.equal(found.image, wanted.image)
    assert (found.depth, found.grey) == (wanted.depth, wanted.grey)
    assert (found.alpha is None) == (wanted.alpha is None)
    assert found.alpha is None or torch.equal(found.alpha, wanted.alpha)


def test_whole_numbers_of_32_bits_are_those_of_16_and_never_clipped():
    found = load(Image.fromarray(DEEP.astype(np.int32)), "composite").picture
    assert torch.equal(found.image, load(DEEP, "composite").picture.image)
    with pytest.raises(InputError, match="expected values from 0 to 65535"):
        load(Image.fromarray(DEEP.astype(np.int32) * 9), "composite")
    with pytest.raises(InputError, match="expected values from 0 to 1"):
        load(Image.fromarray(DEEP.astype(np.float32)), "composite")


def test_the_colour_space_of_an_opened_image_counts():
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, "PNG", icc_profile=P3)
    found = load(Image.open(buffer), "composite").picture
    own = ImageCms.ImageCmsProfile(io.BytesIO(P3))
    seen = ImageCms.profileToProfile(Image.fromarray(COLOURS), own, ImageCms.createProfile("sRGB"), 1)
    assert np.abs(images.quantize(found.image, 8).transpose(1, 2, 0).astype(int) - np.asarray(seen)).max() <= 1
    assert found.profile == P3


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_that_is_not_upright_is_refused(orientation):
    picture = Image.fromarray(COLOURS)
    picture.getexif()[0x0112] = orientation
    with pytest.raises(InputError, match="not upright"):
        load(picture, "composite")


def test_pictures_come_back_with_the_type_and_depth_they_had():
    arrays = (COLOURS, DEEP, COLOURS.astype(np.float32) / 255, np.dstack([COLOURS, 255 - COVER]))
    tensors = (torch.from_numpy(COLOURS).permute(2, 0, 1), torch.rand(3, 24, 32), torch.rand(1, 24, 32))
    for given in (*arrays, *tensors, Image.fromarray(DEEP), Image.fromarray(COLOURS)):
        source, made = read_composite(given, COVER)
        found = give_back(made.image, made, source.kind)
        assert type(found) is type(given)
        if isinstance(given, Image.Image):
            assert np.array_equal(np.asarray(found), np.asarray(given))
        else:
            assert found.dtype == given.dtype
            assert (found == given).all()
    half = torch.rand(3, 24, 32).bfloat16()
    assert torch.equal(load(half, "composite").picture.image, half.float())


def test_a_mask_in_memory_obeys_the_rule_for_files():
    square = torch.from_numpy(COVER > 0)[None]
    labels = COVER // 255
    rgb, rgba = np.dstack([COVER] * 3), np.dstack([COLOURS, COVER])
    masks = (COVER, COVER > 0, labels, rgb, rgba, COVER.astype(np.float32) / 255, torch.from_numpy(COVER), square)
    for mask in (*masks, Image.fromarray(COVER), Image.fromarray(labels), Image.fromarray(COVER).convert("1")):
        assert torch.equal(load_mask(mask), square.float())
    for doubtful, says in (
        (COLOURS, "in doubt"),
        (np.dstack([COVER, COVER.T.repeat(2, 0)[:24, :12].repeat(3, 1)[:, :32], COVER * 0]), "in doubt"),
        (np.where(COVER > 0, 1, 2).astype(np.uint8), "label map"),
        (np.full_like(COVER, 120), None),
    ):
        with pytest.raises(InputError, match=says) as refused:
            read_composite(COLOURS, doubtful)
        # A call has no settings of a dataset.
        assert says is None or ("as booleans" in str(refused.value) and "dataset." not in str(refused.value))
    with pytest.raises(InputError, match="mask given is 32 x 23 pixels"):
        read_composite(COLOURS, COVER[1:])


def test_a_file_of_several_pictures_is_refused_but_for_small_copies(tmp_path):
    frames = [Image.fromarray(np.roll(COLOURS, shift, 1)) for shift in range(3)]
    for suffix in (".gif", ".png", ".webp", ".tif"):
        path = tmp_path / f"several{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match="holds 3 pictures"):
            load(path, "composite")
        frames[0].save(tmp_path / f"one{suffix}", save_all=True)
        load(tmp_path / f"one{suffix}", "composite")


def test_a_place_between_pixels_is_refused():
    cut_out = np.dstack([COLOURS, COVER])[:12, :16]
    with pytest.raises(InputError, match="whole pixels"):
        compose_cut_out(cut_out, COLOURS, (1.5, 2))
    made = compose_cut_out(cut_out, COLOURS, (np.int64(1), 2))[1]
    assert made.mask.any()
