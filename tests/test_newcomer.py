"""The files that people have, by command, call and page: a phone's HEIC, a 16-bit TIFF, a P3 JPEG, a cut-out PNG."""

import io
import json

import cv2
import imagecodecs
import numpy as np
import OpenImageIO as oiio
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from pillow_lut import load_cube_file

from diffharmon import Harmonizer, images
from diffharmon.app.actions import Actions, Asked
from diffharmon.app.limits import Limits
from diffharmon.app.visits import Visits
from diffharmon.config import composed
from diffharmon.dataset.demo import Demo
from diffharmon.errors import InputError
from diffharmon.images.colour import made_profile
from diffharmon.images.tags import _D65, _PRIMARIES
from diffharmon.run import execute
from diffharmon.run.export import layers, lut
from diffharmon.run.finished import read_finished

pillow_heif = pytest.importorskip("pillow_heif")
pytest.importorskip("psd_tools")
P3 = made_profile(_D65, _PRIMARIES[12], "srgb")
ADOBE = imagecodecs.cms_profile("adobergb")
WORDS = {"object": "cup", "foreground": "dim cool", "background": "bright warm"}
SIZE = (96, 128)


def samples(tensor, depth=8):
    array = images.quantize(images.resize(tensor, SIZE), depth).transpose(1, 2, 0)
    return np.ascontiguousarray(array)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of four composites and their masks."""
    folder, demo = tmp_path_factory.mktemp("newcomer"), Demo()[0]
    (folder / "composites").mkdir()
    (folder / "masks").mkdir()
    colours, cover = samples(demo.image), samples(demo.mask)
    heif = pillow_heif.from_pillow(Image.fromarray(colours))
    heif.save(folder / "composites" / "phone.heic", quality=95, icc_profile=P3)
    deep = samples(demo.image, 16) // 257 * 256 + np.random.default_rng(0).integers(0, 256, (*SIZE, 3)).astype(
        np.uint16
    )
    tifffile.imwrite(folder / "composites" / "scan.tif", deep, photometric="rgb", iccprofile=ADOBE)
    Image.fromarray(colours).save(folder / "composites" / "web.jpg", quality=95, icc_profile=P3)
    veil = np.full((*SIZE, 1), 255, np.uint8)
    veil[:20] = 90
    Image.fromarray(np.dstack([colours, veil])).save(folder / "composites" / "sticker.png")
    for name in ("phone", "scan", "web", "sticker"):
        Image.fromarray(cover[..., 0]).save(folder / "masks" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos):
    """All four, harmonized by the embedded model with three variants each."""
    config = composed(
        [
            "dataset=folder",
            f"dataset.images={photos / 'composites'}",
            f"dataset.masks={photos / 'masks'}",
            "describer=fixed",
            *(f"describer.{key}={value}" for key, value in WORDS.items()),
            "evaluator=none",
            "sampler.steps=2",
            "trainer=cpu",
            "method.variants=3",
            "metrics=[full]",
        ]
    )
    execute(config, photos / "run")
    return photos / "run"


def by_littlecms(array, profile):
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    return np.asarray(
        ImageCms.profileToProfile(Image.fromarray(array), own, ImageCms.createProfile("sRGB"), 1, flags=flags)
    ).astype(int)


def stored(photos, name):
    """Read a composite's stored samples with other libraries than the package's."""
    path = next((photos / "composites").glob(f"{name}.*"))
    if name == "scan":
        return np.asarray(oiio.ImageBuf(str(path)).get_pixels(oiio.UINT16))
    if name == "phone":
        return np.asarray(pillow_heif.open_heif(path))
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(("name", "profile"), [("phone", P3), ("scan", ADOBE), ("web", P3), ("sticker", None)])
def test_the_command_gives_back_what_it_got(photos, run, name, profile):
    path = run / "images" / name / "harmonized.png"
    kind = oiio.UINT16 if name == "scan" else oiio.UINT8
    options = oiio.ImageSpec()
    options["oiio:UnassociatedAlpha"] = 1
    found = np.asarray(oiio.ImageBuf(str(path), 0, 0, options).get_pixels(kind))
    given = stored(photos, name)
    outside = np.asarray(Image.open(photos / "masks" / f"{name}.png")) <= 16
    assert np.array_equal(found[outside], given[outside])
    assert found.shape == given.shape
    assert Image.open(path).info.get("icc_profile") == profile
    # As seen through its profile, the cup became brighter and warmer.
    eight = [(array[..., :3] / (257 if name == "scan" else 1)).round().astype(np.uint8) for array in (given, found)]
    before, after = (array.astype(int) if profile is None else by_littlecms(array, profile) for array in eight)
    gain = (after - before)[~outside].mean(0)
    assert gain.mean() > 3  # two steps of the embedded model go that far
    assert gain[0] > gain[2]


@pytest.fixture(scope="module")
def page(photos):
    """What is behind the page, with the same model."""
    return Actions(Harmonizer(sampler__steps=2, evaluator="none"), Visits(photos / "visits", 9), Limits())


def test_call_and_command_agree(photos, run, page):
    for name in ("scan", "web"):
        path = next((photos / "composites").glob(f"{name}.*"))
        result = page.harmonizer(path, photos / "masks" / f"{name}.png", **WORDS)
        result.save(photos / "call.png")
        assert (photos / "call.png").read_bytes() == (run / "images" / name / "harmonized.png").read_bytes()


@pytest.mark.parametrize(("name", "profile"), [("phone", P3), ("scan", ADOBE), ("web", P3), ("sticker", None)])
def test_page_and_command_agree_and_the_page_shows_the_photo_as_littlecms_does(photos, run, page, name, profile):
    path, mask = next((photos / "composites").glob(f"{name}.*")), photos / "masks" / f"{name}.png"
    words = {side: WORDS[side].split() for side in ("foreground", "background")}
    visit = page.visits.of(name)
    finished = page.harmonize(visit, Asked(str(path), str(mask), object=WORDS["object"], **words), lambda *_: None)
    got, saved_as = page.download(visit.folder.name, finished.number, finished.record["best"], "image")
    assert saved_as == f"{name}_harmonized.png"
    assert got.read_bytes() == (run / "images" / name / "harmonized.png").read_bytes()
    eight = (stored(photos, name) / (257 if name == "scan" else 1)).round().astype(np.uint8)
    wanted = eight[..., :3].astype(float) if profile is None else by_littlecms(eight, profile)
    if name == "sticker":
        share = eight[..., 3:] / 255
        wanted = wanted * share + 255 * (1 - share)
    shown = np.asarray(Image.open(finished.before)).astype(float)
    assert np.abs((shown - wanted).mean((0, 1))).max() < 1  # the preview is a JPEG, right on average


def test_variants_are_pictures_to_choose_from(run, photos):
    folder = run / "images" / "scan"
    record = json.loads((folder / "record.json").read_text())
    assert [(variant["strength"], variant["foreground"]) for variant in record["variants"]] == [
        (1.0, ["dim", "cool"]),
        (0.5, ["dim", "cool"]),
        (1.5, ["dim", "cool"]),
    ]
    pictures = [images.read_image(folder / variant["picture"]).image for variant in record["variants"]]
    assert (folder / "variant_00.png").read_bytes() == (folder / "harmonized.png").read_bytes()
    finished = read_finished(folder)
    full, half, more = (picture - finished.composite.image for picture in pictures)
    assert (half - full / 2).abs().max() < 3e-3
    assert more.abs().sum() > 1.1 * full.abs().sum()
    assert not full[:, finished.composite.mask[0] == 0].any()
    assert sorted(path.name for path in folder.glob("variant_*")) == [f"variant_0{number}.png" for number in range(3)]


def test_the_lookup_table_gives_the_result_within_the_error_printed(run, capsys):
    lut([str(run / "web"), "--output", str(run / "look.cube")])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == str(run / "look.cube")
    error = float(printed[1].split(": ")[1].split()[0])
    finished = read_finished(run / "web")
    seen = Image.fromarray(images.to_uint8(finished.composite.image).permute(1, 2, 0).numpy())
    applied = np.asarray(seen.filter(load_cube_file(str(run / "look.cube")))).astype(float)
    inside = finished.composite.mask[0].numpy() > 0.5
    wanted = finished.result.permute(1, 2, 0).numpy() * 255
    assert np.sqrt(((applied - wanted)[inside] ** 2).mean()) <= error + 0.6  # rounding to 8 bits, twice
    assert 0 < error < 10


@pytest.mark.parametrize(("name", "depth"), [("web", 8), ("scan", 16)])
def test_another_library_reads_the_layers(run, photos, name, depth):
    layers([str(run / name), "--output", str(photos / f"{name}.psd")])
    kind = oiio.UINT16 if depth == 16 else oiio.UINT8
    buffers = [oiio.ImageBuf(str(photos / f"{name}.psd"), index, 0) for index in range(4)]
    assert [buffer.spec().getattribute("oiio:subimagename") for buffer in buffers[1:]] == [
        "Composite",
        "Harmonized",
        "Foreground mask",
    ]
    merged, bottom, top = (np.asarray(buffer.get_pixels(kind))[..., :3] for buffer in buffers[:3])
    given = stored(photos, name)
    result = cv2.imread(str(run / "images" / name / "harmonized.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert np.array_equal(bottom, given)
    inside = np.asarray(Image.open(photos / "masks" / f"{name}.png")) > 16
    assert np.array_equal(top[inside], result[inside])
    assert np.abs(merged.astype(int) - result).max() <= (1 if depth == 8 else 2)
    assert np.asarray(buffers[3].get_pixels(oiio.UINT8))[..., 0][inside].min() > 16


def test_what_is_no_finished_image_is_refused(run, photos, tmp_path):
    with pytest.raises(InputError, match="holds 4 images"):
        read_finished(run)
    with pytest.raises(InputError, match="no finished image of a run"):
        read_finished(tmp_path)
    assert torch.equal(read_finished(run / "web").result, read_finished(run / "images" / "web").result)
    (photos / "composites" / "web.jpg").write_bytes((photos / "composites" / "web.jpg").read_bytes())
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(photos / "composites" / "sticker.png")
    with pytest.raises(Exception, match=r"background of .* is not the composite's"):
        read_finished(run / "sticker")
