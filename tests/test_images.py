import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

from diffharmon import types
from diffharmon.errors import InputError
from diffharmon.images import (
    MaskRule,
    binary_mask,
    check_mask,
    from_uint8,
    levels,
    read_image,
    read_mask,
    resize,
    to_uint8,
    write_image,
)


def photo(height=24, width=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def pixels(tensor):
    return to_uint8(tensor).permute(1, 2, 0).numpy()


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_rgb_png_is_read_as_stored(tmp_path):
    array = photo()
    picture = read_image(save(tmp_path / "a.png", array))
    assert picture.alpha is None
    assert picture.image.dtype == torch.float32
    assert np.array_equal(pixels(picture.image), array)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(path, photo(), exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.array_equal(pixels(read_image(path).image), expected)
    red = pixels(read_mask(path, MaskRule("red", floor=0)))
    assert np.array_equal(red[..., 0], expected[..., 0])


def deep_png(array, orientation):
    data = cv2.imencode(".png", array[..., ::-1])[1].tobytes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = len(body).to_bytes(4, "big") + b"eXIf" + body + zlib.crc32(b"eXIf" + body).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]


def deep_tiff(array, orientation):
    height, width, _ = array.shape
    tags = {256: width, 257: height, 258: 16, 259: 1, 262: 2, 273: 8, 274: orientation, 277: 3, 278: height}
    tags[279] = array.nbytes
    body = array.astype("<u2").tobytes()
    bits = 8 + len(body) + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in sorted(tags.items()):
        entries += struct.pack("<HHII", tag, 3, 3, bits) if tag == 258 else struct.pack("<HHII", tag, 4, 1, value)
    header = b"II*\0" + struct.pack("<I", 8 + len(body))
    return header + body + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + struct.pack("<HHH", 16, 16, 16)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [deep_png, deep_tiff])
def test_16_bit_colour_keeps_its_depth_and_orientation(tmp_path, orientation, kind):
    array = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    path = tmp_path / "deep.img"
    path.write_bytes(kind(array, orientation))
    read = read_image(path).image.permute(1, 2, 0).numpy() * 65535
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((array >> 8).astype(np.uint8)).save(buffer, "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    assert read.shape == expected.shape
    assert np.array_equal(read.round().astype(np.uint16) >> 8, expected)
    assert len(np.unique(read.round())) > 1500


def test_16_bit_grey(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (20, 30), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), array)
    image = read_image(tmp_path / "a.png").image
    assert np.allclose(image.numpy() * 65535, array[None], atol=0.01)
    assert np.allclose(read_mask(tmp_path / "a.png", MaskRule(floor=0))[0].numpy() * 65535, array, atol=0.01)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_1_bit_and_palette(tmp_path, mode):
    opened = Image.fromarray(photo()).convert(mode)
    opened.save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    assert picture.alpha is None
    assert np.array_equal(pixels(picture.image), np.asarray(opened.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept_beside_the_colour(tmp_path, mode):
    array = photo(channels=4 if mode == "RGBA" else 2)
    picture = read_image(save(tmp_path / "a.png", array))
    assert np.array_equal(pixels(picture.alpha)[..., 0], array[..., -1])
    assert np.array_equal(pixels(picture.image), np.broadcast_to(array[..., :-1], (24, 32, 3)))


def test_palette_with_transparency_has_alpha(tmp_path):
    opened = Image.fromarray(photo()).quantize(8)
    opened.save(tmp_path / "a.png", transparency=3)
    picture = read_image(tmp_path / "a.png")
    index = np.asarray(opened)
    assert np.array_equal(pixels(picture.alpha)[..., 0] == 0, index == 3)
    assert np.array_equal(pixels(picture.image), np.asarray(opened.convert("RGB")))


def test_cmyk_is_read_as_rgb(tmp_path):
    smooth = np.zeros((32, 48, 3), np.uint8)
    smooth[..., 0], smooth[..., 1], smooth[..., 2] = 200, 120, np.linspace(0, 90, 48)
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    picture = read_image(tmp_path / "a.jpg")
    assert np.abs(pixels(picture.image).astype(int) - smooth).max() <= 6
    assert picture.profile is None


def test_a_profile_is_kept_if_it_can_be_used(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(tmp_path / "a.png", photo(), icc_profile=profile)
    assert read_image(path).profile == profile
    write_image(tmp_path / "b.png", read_image(path).image, profile=profile)
    assert Image.open(tmp_path / "b.png").info["icc_profile"] == profile
    broken = profile[:16] + b"GRAY" + profile[20:]
    assert read_image(save(tmp_path / "c.png", photo()[..., 0], icc_profile=broken)).profile is None


MASK = np.zeros((24, 32), np.uint8)


MASK[6:18, 8:20] = 1


SOFT = (MASK * 200).astype(np.uint8)


SOFT[5, 8:20] = 90


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("0 and 1", Image.fromarray(MASK), MASK * 255),
        ("0 and 255", Image.fromarray(MASK * 255), MASK * 255),
        ("soft", Image.fromarray(SOFT), SOFT),
        ("1 bit", Image.fromarray(MASK * 255).convert("1"), MASK * 255),
        ("palette", Image.fromarray(MASK * 255).convert("P"), MASK * 255),
        ("RGB", Image.fromarray(SOFT).convert("RGB"), SOFT),
        ("RGB of 0 and 1", Image.fromarray(MASK).convert("RGB"), MASK * 255),
        ("opaque RGBA", Image.fromarray(SOFT).convert("RGBA"), SOFT),
        ("even RGBA", Image.merge("RGBA", [Image.fromarray(SOFT)] * 3 + [Image.new("L", (32, 24), 128)]), SOFT),
        ("white RGBA", Image.merge("RGBA", [Image.new("L", (32, 24), 255)] * 3 + [Image.fromarray(SOFT)]), SOFT),
        ("black RGBA", Image.merge("RGBA", [Image.new("L", (32, 24), 0)] * 3 + [Image.fromarray(MASK)]), MASK * 255),
        ("LA", Image.merge("LA", [Image.new("L", (32, 24), 255), Image.fromarray(SOFT)]), SOFT),
        ("16 bit", Image.fromarray(SOFT.astype(np.uint16) * 257), SOFT),
        ("16 bit of 0 and 255", Image.fromarray(MASK.astype(np.uint16) * 255), MASK * 255),
        ("red on black", Image.fromarray(np.dstack([SOFT, SOFT * 0, SOFT * 0])), SOFT),
        ("blue on black", Image.fromarray(np.dstack([SOFT * 0, SOFT * 0, SOFT])), SOFT),
    ],
)  # fmt: skip
def test_masks_of_every_kind(tmp_path, name, image, expected):
    image.save(tmp_path / "mask.png")
    assert np.array_equal(pixels(read_mask(tmp_path / "mask.png"))[..., 0], expected)


def test_check_mask():
    image, mask = torch.zeros(3, 10, 20), torch.zeros(1, 10, 20)
    mask[0, 2, 3] = 1.0
    check_mask(mask, image, "good.png")
    with pytest.raises(InputError, match=r"small\.png is 9 x 10 pixels, expected 20 x 10"):
        check_mask(mask[..., :9], image, "small.png")
    with pytest.raises(InputError, match=r"none\.png is empty"):
        check_mask(mask * 0.39, image, "none.png")
    with pytest.raises(InputError, match=r"all\.png covers the whole image"):
        check_mask(torch.ones(1, 10, 20), image, "all.png")


@pytest.mark.parametrize("filter", ["lanczos", "bicubic", "bilinear", "box"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(17, 9), (64, 50), (24, 32)])
def test_resize_equals_pil(filter, channels, size):
    array = photo(channels=channels, seed=1)
    if channels == 4:
        array[:8, :8, 3] = 0
    opened = Image.fromarray(array[..., 0] if channels == 1 else array)
    expected = np.asarray(opened.resize((size[1], size[0]), getattr(Image.Resampling, filter.upper())))
    tensor = from_uint8(torch.from_numpy(array.copy()).permute(2, 0, 1))
    resized = resize(tensor[:3], size, filter, tensor[3:] if channels == 4 else None)
    assert np.array_equal(pixels(resized), expected.reshape(*size, channels)[..., :3])


def test_resize_refuses_other_channels():
    with pytest.raises(ValueError, match="got 4"):
        resize(torch.zeros(4, 9, 9), (8, 8))


def reference_arrays(golden_folder, case):
    return np.load(golden_folder / case / "iter00.npz", allow_pickle=False)


@pytest.mark.parametrize("key", ["girl", "house"])
def test_masks_equal_the_reference(golden_folder, key):
    case = {"girl": "girl128_edge", "house": "house128_multi"}[key]
    golden = reference_arrays(golden_folder, case)
    mask = read_mask(golden_folder / "inputs" / f"{key}_mask.png", MaskRule(floor=0))
    original, latent = golden["original_mask"], golden["latent_mask"]
    assert np.array_equal(binary_mask(mask, original.shape[-2:]).numpy(), original[0])
    assert np.array_equal(binary_mask(mask, latent.shape[-2:]).expand(4, -1, -1).numpy(), latent[0])


@pytest.mark.parametrize("key", ["girl", "house"])
def test_preprocessing_equals_the_reference(golden_folder, key):
    case = {"girl": "girl128_edge", "house": "house128_multi"}[key]
    background = reference_arrays(golden_folder, case)["bg_image"]
    picture = read_image(golden_folder / "inputs" / f"{key}_comp.png")
    resized = resize(picture.image, background.shape[-3:-1], alpha=picture.alpha)
    assert np.array_equal(pixels(resized), background.reshape(*background.shape[-3:]))
    if key == "girl":
        golden = np.load(golden_folder / "module_io.npz", allow_pickle=False)["pre_girl128"]
        assert np.abs(2 * resized.numpy() - 1 - golden[0]).max() <= 2e-7


def test_written_images_are_rounded_whole_and_repeatable(tmp_path):
    image = torch.linspace(-0.2, 1.2, 3 * 20 * 30).reshape(3, 20, 30)
    alpha = torch.linspace(0, 1, 600).reshape(1, 20, 30)
    write_image(tmp_path / "new" / "a.png", image, alpha)
    write_image(tmp_path / "new" / "b.png", image, alpha)
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "new" / "b.png").read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]
    again = read_image(tmp_path / "new" / "a.png")
    assert (again.image - image.clamp(0, 1)).abs().max() <= 0.5001 / 255
    assert (again.alpha - alpha).abs().max() <= 0.5001 / 255
    write_image(tmp_path / "mask.png", alpha)
    assert Image.open(tmp_path / "mask.png").mode == "L"
    with pytest.raises(ValueError, match="PNG"):
        write_image(tmp_path / "a.jpg", image)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, torch.zeros(3, 8, 8))
    before = path.read_bytes()

    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(path, torch.ones(3, 8, 8))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("depth", [8, 16, 32])
def test_levels_by_bands_are_those_of_the_whole(monkeypatch, depth):
    monkeypatch.setattr(types.levels, "_BAND", 100)  # of 30 columns: three rows, then the rest
    image = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    peak = {8: 255.0, 16: 65535.0, 32: 1.0}[depth]
    whole = image.clamp(0, 1) * peak
    found = levels.samples(image, depth)
    assert np.array_equal(found, (whole if depth == 32 else whole.round()).permute(1, 2, 0).numpy())
    assert torch.equal(levels.from_samples(found, peak), torch.from_numpy(found.transpose(2, 0, 1) / np.float32(peak)))
    assert torch.equal(to_uint8(image), (image.clamp(0, 1) * 255).round().to(torch.uint8))
