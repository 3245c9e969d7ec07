"""The depth of a file comes back, with a background that is the input's bit for bit."""

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from diffharmon.errors import InputError, ResultError
from diffharmon.images import SUFFIX_OF_DEPTH, check_background, quantize, read_image, to_grey, write_image
from diffharmon.types import Composite

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def samples(depth, channels, seed=0):
    random = np.random.default_rng(seed)
    if depth == 32:
        return random.random((20, 30, channels), dtype=np.float32)
    return random.integers(0, 2**depth, (20, 30, channels)).astype(f"uint{depth}")


def source(folder, depth, channels):
    """Write a file with another library than ours; gives its path and samples."""
    array = samples(depth, channels)
    path = folder / f"in{SUFFIX_OF_DEPTH[depth]}"
    if depth == 32:
        tifffile.imwrite(path, array[..., 0] if channels == 1 else array)
    elif depth == 16:
        cv2.imwrite(str(path), array[..., 0] if channels == 1 else array[..., [2, 1, 0, 3][:channels]])
    else:
        Image.fromarray(array[..., 0] if channels == 1 else array).save(path)
    return path, array


def composite_of(picture):
    mask = torch.zeros(1, *picture.image.shape[1:])
    mask[:, 5:12, 5:12] = 1
    return Composite("a", "b", picture.image, mask, None, picture.alpha, picture.profile, picture.depth, picture.grey)


@pytest.mark.parametrize("depth", [8, 16, 32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_read_is_written_bit_for_bit(tmp_path, depth, channels):
    path, array = source(tmp_path, depth, channels)
    picture = read_image(path)
    assert (picture.depth, picture.grey) == (depth, channels == 1)
    assert np.array_equal(
        quantize(picture.image, depth), np.broadcast_to(array[..., :3], (20, 30, 3)).transpose(2, 0, 1)
    )
    result = tmp_path / f"out{SUFFIX_OF_DEPTH[depth]}"
    write_image(result, picture.image, picture.alpha, PROFILE, depth, picture.grey)
    again = read_image(result)
    assert torch.equal(again.image, picture.image)
    assert (again.depth, again.grey) == (depth, channels == 1)
    assert picture.alpha is None or torch.equal(again.alpha, picture.alpha)
    assert again.profile == PROFILE or (depth == 32 and channels == 1)
    check_background(result, composite_of(picture))


@settings(max_examples=20, deadline=None)
@given(row=st.integers(0, 19), column=st.integers(0, 29), channel=st.integers(0, 3), depth=st.sampled_from([8, 16]))
def test_one_level_in_one_sample_of_the_background_is_found(tmp_path_factory, row, column, channel, depth):
    folder = tmp_path_factory.mktemp("depth")
    path, array = source(folder, depth, 4)
    composite = composite_of(read_image(path))
    changed = array.copy()
    changed[row, column, channel] ^= 1
    tensor = torch.from_numpy(changed.astype(np.float32) / np.float32(2**depth - 1)).permute(2, 0, 1)
    write_image(folder / "out.png", tensor[:3], tensor[3:], depth=depth)
    if composite.mask[0, row, column] > 0:
        check_background(folder / "out.png", composite)
    else:
        with pytest.raises(ResultError, match=r"out\.png is not the composite's: 1 of 551 pixels"):
            check_background(folder / "out.png", composite)


def test_another_depth_size_or_a_lost_alpha_is_found(tmp_path):
    composite = composite_of(read_image(source(tmp_path, 16, 4)[0]))
    write_image(tmp_path / "shallow.png", composite.image, composite.alpha)
    with pytest.raises(ResultError, match="of 8 bits, expected 30 x 20 of 16"):
        check_background(tmp_path / "shallow.png", composite)
    write_image(tmp_path / "cut.png", composite.image[:, 1:], composite.alpha[:, 1:], depth=16)
    with pytest.raises(ResultError, match="30 x 19 pixels"):
        check_background(tmp_path / "cut.png", composite)
    write_image(tmp_path / "opaque.png", composite.image, depth=16)
    with pytest.raises(ResultError, match="551 of 551"):
        check_background(tmp_path / "opaque.png", composite)


def test_grey_keeps_equal_channels_and_writes_one(tmp_path):
    image = torch.rand(3, 20, 30)
    image[:, :10] = image[:1, :10]
    grey = to_grey(image)
    assert torch.equal(grey[:, :10], image[:1, :10])
    assert torch.allclose(grey[0, 10:], (image * torch.tensor([0.2126, 0.7152, 0.0722])[:, None, None]).sum(0)[10:])
    write_image(tmp_path / "a.png", image, depth=16, grey=True)
    assert Image.open(tmp_path / "a.png").mode == "I;16"


def test_depths_that_a_format_does_not_hold(tmp_path):
    for name, depth in (("a.png", 32), ("a.png", 10), ("a.jpg", 8)):
        with pytest.raises(ValueError, match="expected"):
            write_image(tmp_path / name, torch.zeros(3, 9, 9), depth=depth)


def test_float_values_outside_their_range_are_refused(tmp_path):
    for value in (1.5, -0.1, float("nan")):
        array = samples(32, 3)
        array[3, 3, 1] = value
        tifffile.imwrite(tmp_path / "hdr.tif", array)
        with pytest.raises(InputError, match=r"hdr\.tif holds values from .* expected values from 0 to 1"):
            read_image(tmp_path / "hdr.tif")
