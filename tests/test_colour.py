"""Photos in other spaces than sRGB: the models see sRGB, and results are in the photo's own space."""

import io
import struct
import zlib
from dataclasses import replace

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from diffharmon import Harmonizer, images
from diffharmon.errors import InputError
from diffharmon.images.colour import is_srgb, made_profile, srgb, to_own_space, to_srgb
from diffharmon.images.tags import _BT709, _D65, _PRIMARIES

SIZE = (40, 56)
PROFILES = {
    "Display P3": made_profile(_D65, _PRIMARIES[12], "srgb"),
    "Adobe RGB": imagecodecs.cms_profile("adobergb"),
    "ProPhoto": made_profile((0.3457, 0.3585), (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), 1.8),
}


def photo(depth=8, channels=3, seed=0):
    """Smooth colours over the whole range."""
    small = np.random.default_rng(seed).random((5, 7, channels)).astype(np.float32)
    smooth = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_LINEAR).reshape(*SIZE, channels)
    return (smooth * (2**depth - 1)).round().astype(f"uint{depth}")


def cover():
    mask = torch.zeros(1, *SIZE)
    mask[:, 10:30, 15:40] = 1
    return mask


def littlecms(array, profile, back=False):
    """Convert 8 bits by Pillow's littlecms: to sRGB, or back."""
    own, standard = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    source, target = (standard, own) if back else (own, standard)
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.HIGHRESPRECALC
    converted = ImageCms.profileToProfile(Image.fromarray(array), source, target, 1, flags=flags)
    return np.asarray(converted).astype(int)


def levels(image):
    return images.to_uint8(image).permute(1, 2, 0).numpy().astype(int)


def darker(composite):
    return torch.where(composite.mask > 0, composite.image * 0.6, composite.image)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_models_see_what_littlecms_makes_of_the_photo(tmp_path, name, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(photo()).save(path, icc_profile=PROFILES[name], **({"quality": 95} if suffix == ".jpg" else {}))
    picture = images.read_image(path)
    stored = np.asarray(Image.open(path))
    assert np.abs(levels(picture.image) - littlecms(stored, PROFILES[name])).max() <= 1
    assert np.abs(levels(picture.image) - stored).max() > 15
    assert np.array_equal(levels(picture.encoded), stored)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("depth", [8, 16])
def test_results_are_in_the_photos_space_with_its_background(tmp_path, name, depth):
    array = photo(depth)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", iccprofile=PROFILES[name])
    composite = images.read_image(tmp_path / "a.tif").composite("a", "b", cover())
    images.write_result(tmp_path / "same.png", composite, composite.image)
    assert np.array_equal(cv2.imread(str(tmp_path / "same.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], array)
    result = darker(composite)
    images.write_result(tmp_path / "out.png", composite, result)
    images.check_background(tmp_path / "out.png", composite)
    written = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    outside = cover()[0].numpy() == 0
    assert np.array_equal(written[outside], array[outside])
    eight = (written / (257 if depth == 16 else 1)).round().astype(np.uint8)
    # Where sRGB holds the photo's colours, the result is what littlecms makes of the sRGB result.
    within = (composite.image.amin(0) > 0.02) & (composite.image.amax(0) < 0.98)
    inside = (~outside) & within.numpy()
    assert inside.sum() > 50
    assert np.abs(eight - littlecms(levels(result).astype(np.uint8), PROFILES[name], back=True))[inside].max() <= 2
    assert Image.open(tmp_path / "out.png").info["icc_profile"] == PROFILES[name]


def test_colours_outside_srgb_survive_a_small_change():
    profile = PROFILES["Display P3"]
    encoded = torch.tensor([1.0, 0.0, 0.0]).reshape(3, 1, 1)
    image = images.picture_of(encoded, profile=profile).image
    moved = to_own_space((image - 1 / 255).clamp(0, 1), image, encoded, profile)
    assert (moved - encoded).abs().max() < 2 / 255


def test_a_result_is_converted_in_as_few_parts_as_its_pixels_need(monkeypatch):
    """Littlecms prepares every conversion again: with a part for every few hundred pixels a photo took minutes."""
    converted = []
    transform = imagecodecs.cms_transform
    monkeypatch.setattr(imagecodecs, "cms_transform", lambda *a, **k: converted.append(1) or transform(*a, **k))
    profile = imagecodecs.cms_profile("adobergb")
    encoded = torch.rand(3, 600, 2, generator=torch.Generator().manual_seed(0))
    image = to_srgb(encoded, profile)
    converted.clear()
    to_own_space(image * 0.5, image, encoded, profile)
    assert len(converted) == 2, "the photo and its result"


def test_a_space_that_is_srgb_is_left_alone(tmp_path):
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert is_srgb(standard)
    assert is_srgb(srgb())
    assert is_srgb(made_profile(_D65, _BT709, "srgb"))
    assert not is_srgb(made_profile(_D65, _BT709, 2.2))
    assert images.picture_of(torch.rand(3, 9, 9), profile=standard).encoded is None


def png(path, array, *chunks):
    """Write a PNG with further chunks behind its header."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    data = buffer.getvalue()
    extra = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    path.write_bytes(data[:33] + extra + data[33:])
    return path


def expected_of(array, white, primaries, decode):
    """Convert by the formulas, in double precision."""

    def matrix(points):
        columns = [[x / y, 1.0, (1 - x - y) / y] for x, y in zip(points[::2], points[1::2], strict=True)]
        target = np.array([white[0] / white[1], 1.0, (1 - sum(white)) / white[1]])
        return np.array(columns).T * np.linalg.solve(np.array(columns).T, target)

    light = decode(array.astype(np.float64) / 255) @ (np.linalg.inv(matrix(_BT709)) @ matrix(primaries)).T
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255


def test_gamma_and_code_points_of_png_count(tmp_path):
    array = photo()
    path = png(tmp_path / "gamma.png", array, (b"gAMA", struct.pack(">I", 100000)))
    found = images.read_image(path)
    assert np.abs(levels(found.image) - expected_of(array, _D65, _BT709, lambda code: code)).max() <= 1
    path = png(tmp_path / "common.png", array, (b"gAMA", struct.pack(">I", 45455)))
    assert images.read_image(path).encoded is None
    path = png(tmp_path / "p3.png", array, (b"cICP", bytes([12, 13, 0, 1])), (b"gAMA", struct.pack(">I", 100000)))
    found = images.read_image(path)
    decode = np.vectorize(lambda code: code / 12.92 if code <= 0.04045 else ((code + 0.055) / 1.055) ** 2.4)
    assert np.abs(levels(found.image) - expected_of(array, _D65, _PRIMARIES[12], decode)).max() <= 1
    images.write_result(tmp_path / "out.png", found.composite("a", "b", cover()), found.image)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), array)
    assert np.allclose(images.read_image(tmp_path / "out.png").image, found.image)
    with pytest.raises(InputError, match=r"hdr\.png is a high dynamic range photo \(PQ\)"):
        images.read_image(png(tmp_path / "hdr.png", array, (b"cICP", bytes([9, 16, 0, 1]))))


def test_adobe_rgb_by_exif_index(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    Image.fromarray(photo()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = images.read_image(tmp_path / "a.jpg")
    stored = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert np.abs(levels(found.image) - littlecms(stored, PROFILES["Adobe RGB"])).max() <= 1


def test_grey_stays_grey_in_its_own_space_unless_asked(tmp_path):
    profile = imagecodecs.cms_profile("gray", gamma=1.8)
    array = photo(channels=1)[..., 0]
    Image.fromarray(array).save(tmp_path / "a.png", icc_profile=profile)
    found = images.read_image(tmp_path / "a.png")
    assert np.abs(levels(found.image)[..., 0] - array).max() > 5
    composite = found.composite("a", "b", cover())
    coloured = torch.where(
        composite.mask > 0, composite.image * torch.tensor([1, 0.7, 0.5])[:, None, None], found.image
    )
    images.write_result(tmp_path / "out.png", composite, coloured)
    images.check_background(tmp_path / "out.png", composite)
    written = Image.open(tmp_path / "out.png")
    assert (written.mode, written.info["icc_profile"]) == ("L", profile)
    asked = images.read_image(tmp_path / "a.png", colour=True).composite("a", "b", cover())
    images.write_result(tmp_path / "colour.png", asked, coloured)
    images.check_background(tmp_path / "colour.png", asked)
    assert np.ptp(np.asarray(Image.open(tmp_path / "colour.png"))[20, 20]) > 10


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("names", ["RGB", "RGBA", "Y"])
def test_linear_light_comes_back_as_it_was(tmp_path, kind, names):
    library = pytest.importorskip("OpenEXR")
    array = (np.random.default_rng(0).random((*SIZE, len(names))) * 3 - 0.1).astype(kind)
    if names == "RGBA":
        array[..., 3] = 1
    points = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage, "chromaticities": points}
    with library.File(header, {names: array[..., 0].copy() if names == "Y" else array}) as file:
        file.write(str(tmp_path / "a.exr"))
    composite = images.read_image(tmp_path / "a.exr").composite("a", "b", cover())
    assert (composite.linear, composite.depth, images.suffix_of(composite)) == (True, 8 * array.itemsize, ".exr")
    assert float(composite.image.min()) >= 0
    assert float(composite.image.max()) <= 1
    result = darker(composite)
    images.write_result(tmp_path / "out.exr", composite, result)
    images.check_background(tmp_path / "out.exr", composite)
    with library.File(str(tmp_path / "out.exr")) as file:
        found = file.channels()[names].pixels.reshape(array.shape)
        assert np.allclose(np.ravel(file.header()["chromaticities"]), points)
    assert found.dtype == kind
    outside = cover()[0].numpy() == 0
    assert np.array_equal(found[outside], array[outside])
    # Light above white is scaled as white is: 0.6 of sRGB's white is 0.3185 of its light.
    bright = (~outside) & (array[..., :3] > 1.3).all(-1)
    ratio = (found[..., :3].astype(float) / array[..., :3])[bright]
    assert bright.sum() > 20
    assert np.abs(ratio - 0.3185).max() < 0.01


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".jxl"])
@pytest.mark.parametrize("bits", [8, 10])
def test_phone_formats_come_back_at_their_depth(tmp_path, suffix, bits):
    peak = 2**bits - 1
    array = (photo(16) // 2 ** (16 - bits)).astype(np.uint16)
    path = tmp_path / f"a{suffix}"
    if suffix == ".heic":
        heif = pytest.importorskip("pillow_heif")
        mode, samples = ("RGB", array.astype(np.uint8)) if bits == 8 else ("RGB;16", array << (16 - bits))
        heif.from_bytes(mode=mode, size=SIZE[::-1], data=samples.tobytes()).save(path, quality=-1, chroma=444)
    elif suffix == ".avif":
        data = array.astype(np.uint8) if bits == 8 else array
        path.write_bytes(imagecodecs.avif_encode(data, level=100, bitspersample=bits, numthreads=1))
    else:
        pytest.importorskip("pillow_jxl")
        data = array.astype(np.uint8) if bits == 8 else (array * (65535 / peak)).round().astype(np.uint16)
        path.write_bytes(imagecodecs.jpegxl_encode(data, lossless=True))
    found = images.read_image(path)
    assert found.depth == (8 if bits == 8 else 16)
    own = found.image if found.encoded is None else found.encoded  # 16 bits of JPEG XL are linear light
    difference = (own.permute(1, 2, 0).numpy() * peak - array).__abs__().max()
    assert difference <= (0.01 if suffix == ".jxl" else 4)  # HEIC and AVIF: rounding of the colour matrix
    composite = found.composite("a", "b", cover())
    images.write_result(tmp_path / "out.png", composite, darker(composite))
    images.check_background(tmp_path / "out.png", composite)
    assert images.read_image(tmp_path / "out.png").depth == found.depth


@pytest.mark.parametrize("depth", [8, 16])
def test_metadata_are_kept_upright(tmp_path, depth):
    exif = Image.Exif()
    exif[0x8298], exif[0x0112] = "Copyright A. Person", 6
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    Image.fromarray(photo()).save(tmp_path / "a.png", exif=exif, pnginfo=text)
    found = images.read_image(tmp_path / "a.png")
    assert tuple(found.image.shape[1:]) == SIZE[::-1]
    composite = replace(found.composite("a", "b", cover().mT), depth=depth)
    images.write_result(tmp_path / "out.png", composite, composite.image)
    again = Image.open(tmp_path / "out.png")
    assert again.getexif()[0x8298] == "Copyright A. Person"
    assert again.getexif()[0x0112] == 1
    assert "xmpmeta" in str(again.info)
    assert torch.equal(images.read_image(tmp_path / "out.png").image, found.image)


def test_the_call_applies_and_returns_profiles(tmp_path):
    array, profile = photo(), PROFILES["Adobe RGB"]
    Image.fromarray(array).save(tmp_path / "a.png", icc_profile=profile)
    harmonize = Harmonizer(method="reinhard")
    mask = (cover()[0].numpy() * 255).astype(np.uint8)
    for given in (tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        result = harmonize(given, mask)
        assert np.abs(levels(result.composite.image) - littlecms(array, profile)).max() <= 1
        assert result.image.info["icc_profile"] == profile
        assert np.array_equal(np.asarray(result.image)[mask == 0], array[mask == 0])
    cut_out = Image.fromarray(np.dstack([photo(seed=1), mask]))
    result = harmonize(foreground=cut_out, background=tmp_path / "a.png")
    assert np.array_equal(np.asarray(result.image)[mask == 0], array[mask == 0])
    shown = littlecms(images.quantize(result.composite.encoded, 8).transpose(1, 2, 0).copy(), profile)
    difference = np.abs(shown - photo(seed=1))[mask > 0]
    assert difference.max() <= 5  # 8 bits of Adobe RGB are coarse in the dark
    assert difference.mean() < 0.6


def test_the_size_limit_can_be_set(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "a.png")
    harmonize = Harmonizer(method="reinhard")
    with pytest.raises(InputError, match="too large"):
        harmonize(tmp_path / "a.png", cover(), max_megapixels=0.001)
