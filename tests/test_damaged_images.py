"""Files that are no images, or no longer: refused by name, whatever their bytes."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from diffharmon.errors import InputError
from diffharmon.images import (
    read_image,
    read_mask,
)


def photo(height=24, width=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def truncated(tmp_path):
    path = tmp_path / "cut.png"
    save(path, photo(64, 64))
    path.write_bytes(path.read_bytes()[:3000])
    return path


def corrupt(tmp_path):
    path = tmp_path / "noise.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 this is no photo")
    return path


def empty(tmp_path):
    path = tmp_path / "empty.png"
    path.write_bytes(b"")
    return path


def folder(tmp_path):
    path = tmp_path / "folder.jpg"
    path.mkdir()
    return path


def bomb(tmp_path):
    path = tmp_path / "bomb.png"
    save(path, photo(8, 8))
    data = bytearray(path.read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "none.png", "does not exist"),
        (folder, "is a folder"),
        (truncated, "cannot be read"),
        (corrupt, "cannot be read"),
        (empty, "cannot be read"),
        (bomb, "too large"),
        (lambda folder: save(folder / "one.png", photo(1, 1)), "1 x 1"),
        (lambda folder: save(folder / "thin.png", photo(7, 100)), "100 x 7"),
    ],
)
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_bad_files_are_refused_by_name(tmp_path, make, says, read):
    path = make(tmp_path)
    with pytest.raises(InputError, match=says) as caught:
        read(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), suffix=st.sampled_from(["png", "jpg", "tif", "webp", "bmp"]))
def test_damaged_bytes_never_raise_anything_else(tmp_path, data, suffix):
    buffer = io.BytesIO()
    Image.fromarray(photo(16, 16)).save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        picture = read_image(path)
    except InputError:
        return
    assert picture.image.shape[0] == 3
