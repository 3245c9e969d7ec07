"""A campaign of bad photos, masks, names and caption files: each is refused in one clear line, at once, by its name."""

import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from diffharmon.dataset.folder import Folder
from diffharmon.dataset.single import Single
from diffharmon.describer.file import File
from diffharmon.errors import InputError
from diffharmon.images import image_size

RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 256, (32, 40, 3), dtype=np.uint8)
BOX = np.zeros((32, 40), np.uint8)
BOX[8:24, 8:28] = 255


def save(array, suffix=".png", **options):
    """Return what writes an array as an image file, as ``write(folder)``."""

    def write(folder):
        path = folder / f"bad{suffix}"
        Image.fromarray(np.asarray(array)).save(path, **options)
        return path

    return write


def raw(content, suffix=".png"):
    def write(folder):
        path = folder / f"bad{suffix}"
        path.write_bytes(content)
        return path

    return write


def cut(suffix, share=0.5, **options):
    def write(folder):
        path = save(RANDOM.integers(0, 256, (96, 96, 3), dtype=np.uint8), suffix, **options)(folder)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        return path

    return write


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width, height):
    """A PNG that announces a size and holds one pixel."""
    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")


def fifo(folder):
    os.mkfifo(folder / "bad.png")
    return folder / "bad.png"


def link(target):
    def write(folder):
        (folder / "bad.png").symlink_to(target)
        return folder / "bad.png"

    return write


def directory(folder):
    (folder / "bad.png").mkdir()
    return folder / "bad.png"


def sparse(folder):
    path = folder / "bad.png"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)
    return path


def floats(value):
    def write(folder):
        array = RANDOM.random((32, 40, 3), dtype=np.float32)
        array[0, 0, 0] = value
        tifffile.imwrite(folder / "bad.tif", array)
        return folder / "bad.tif"

    return write


PHOTOS = {
    "absent": (lambda folder: folder / "bad.png", "does not exist"),
    "folder": (directory, "is a folder"),
    "FIFO": (fifo, "device, pipe or socket"),
    "/dev/zero": (link("/dev/zero"), "device, pipe or socket"),
    "broken link": (link("nowhere.png"), "does not exist"),
    "link to itself": (link("bad.png"), "cannot be read"),
    "5 GiB": (sparse, "at most"),
    "empty": (raw(b""), "empty"),
    "web page": (raw(b"<!DOCTYPE html><html>404</html>", ".jpg"), "a web page"),
    "text": (raw(b"hello, this is no image at all"), "cannot be read"),
    "zeros": (raw(bytes(4096), ".jpg"), "cannot be read"),
    "EPS": (raw(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n"), "an EPS or PostScript file"),
    "PDF": (raw(b"%PDF-1.7\n"), "a PDF file"),
    "PSD": (raw(b"8BPS\0\1" + bytes(40)), "a Photoshop file"),
    "SVG": (raw(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "an SVG"),
    "OpenEXR": (raw(b"v/1\x01" + bytes(60), ".exr"), "OpenEXR|cannot be read"),
    "raw camera file": (raw(b"II*\0" + bytes(60), ".dng"), "raw camera file"),
    "video": (raw(b"\0\0\0\x18ftypisom" + bytes(60), ".png"), "a video"),
    "icon": (raw(b"\0\0\1\0\1\0" + bytes(60), ".ico"), "a Windows icon"),
    "Targa": (save(PHOTO, ".tga"), "of another format than PNG, JPEG"),
    "archive": (raw(b"PK\x03\x04" + bytes(60)), "a ZIP archive"),
    "cut HEIC": (raw(b"\0\0\0\x18ftypheic" + bytes(60), ".heic"), "HEIC|cannot be read"),
    "cut JPEG XL": (raw(b"\xff\x0a" + bytes(60), ".jxl"), "JPEG XL|cannot be read"),
    "cut PNG": (cut(".png"), "damaged"),
    "cut JPEG": (cut(".jpg"), "damaged"),
    "cut TIFF": (cut(".tif"), "damaged"),
    "cut WebP": (cut(".webp", lossless=True), "damaged"),
    "cut AVIF": (cut(".avif"), "damaged"),
    "header only": (raw(header(40, 32)), "damaged"),
    "60,000 pixels wide": (raw(header(60000, 60000)), "3,600.0 megapixels, dataset.max_megapixels allows 200"),
    "1 x 1": (save(PHOTO[:1, :1]), "1 x 1 pixels, expected at least 8"),
    "7 high": (save(PHOTO[:7]), "40 x 7 pixels, expected at least 8"),
    "float above 1": (floats(7.0), "holds values from"),
    "float NaN": (floats(np.nan), "holds values from"),
    "32-bit integers": (save(BOX.astype(np.int32) * 1000, ".tif"), "holds values from"),
    "null in the name": (lambda folder: folder / "a\0b.png", "cannot be read"),
    "name of 5,000 letters": (lambda folder: folder / ("x" * 5000), "cannot be read"),
}
TWO = np.where(BOX > 0, 1, np.where(BOX[:, ::-1] > 0, 2, 0)).astype(np.uint8)
MASKS = {
    "black": (save(BOX * 0), "is empty"),
    "white": (save(BOX | 255), "covers the whole image"),
    "dark": (save(BOX // 4), "empty or a label map"),
    "another size": (save(BOX[:-2]), "40 x 30 pixels, expected 40 x 32"),
    "turned": (save(BOX.T.copy()), "32 x 40 pixels, expected 40 x 32"),
    "labels": (save(TWO), "label map"),
    "regions of grey": (save(TWO * 120), "label map or trimap"),
    "a photo": (save(PHOTO), "which channel is the mask"),
    "grey background": (save(np.maximum(BOX, RANDOM.integers(30, 50, BOX.shape, dtype=np.uint8))), "not black"),
    "two masks": (save(np.dstack([BOX, BOX, BOX, BOX[:, ::-1]])), "two masks that differ"),
    "two colours": (save(np.where(BOX[..., None] > 0, PHOTO[0, 0] | 64, PHOTO[1, 1] | 32)), "neither black"),
    "opaque cut-out": (save(np.dstack([PHOTO, BOX | 255])), "which channel is the mask"),
    "cut PNG": (cut(".png"), "damaged"),
    "folder": (directory, "is a folder"),
    "FIFO": (fifo, "device, pipe or socket"),
}
CAPTIONS = {
    "/dev/zero": (link("/dev/zero"), "device, pipe or socket"),
    "FIFO": (fifo, "device, pipe or socket"),
    "folder": (directory, "is a folder"),
    "5 GiB": (sparse, "at most"),
    "empty": (raw(b"", ".txt"), "is empty"),
    "Latin-1": (raw(b"\xe9t\xe9\tcat a,cat b", ".txt"), "UTF-8"),
    "an image": (save(PHOTO), "UTF-8"),
    "no comma": (raw(b"a\tcat dim", ".txt"), "commas"),
    "two objects": (raw(b"a\tcat dim,dog bright", ".txt"), "different words"),
    "no words": (raw(b"a\tcat,cat bright", ".txt"), "no foreground"),
    "a list": (raw(b"[1, 2]", ".jsonl"), "expected 'name'"),
    "cut JSON": (raw(b'{"name": "a", ', ".jsonl"), "not JSON"),
    "deep JSON": (raw(b"[" * 100_000, ".jsonl"), "not JSON|expected"),
}


def refusal(action):
    with pytest.raises(InputError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 12_000
    return message


def good(folder):
    """A good photo and mask beside the bad file."""
    Image.fromarray(PHOTO).save(folder / "photo.png")
    Image.fromarray(BOX).save(folder / "mask.png")
    return str(folder / "photo.png"), str(folder / "mask.png")


@pytest.mark.parametrize("kind", PHOTOS)
def test_bad_photos(tmp_path, kind):
    make, says = PHOTOS[kind]
    path = make(tmp_path)
    message = refusal(lambda: Single(str(path), good(tmp_path)[1])[0])
    assert path.name in message
    assert any(part in message for part in says.split("|")), message


@pytest.mark.parametrize("kind", MASKS)
def test_bad_masks(tmp_path, kind):
    make, says = MASKS[kind]
    path = make(tmp_path)
    message = refusal(lambda: Single(good(tmp_path)[0], str(path))[0])
    assert path.name in message
    assert says in message


@pytest.mark.parametrize("kind", CAPTIONS)
def test_bad_captions(tmp_path, kind):
    make, says = CAPTIONS[kind]
    path = make(tmp_path)
    message = refusal(lambda: File(str(path)))
    assert path.name in message
    assert any(part in message for part in says.split("|")), message


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_limits_that_are_none(tmp_path, limit):
    photo, mask = good(tmp_path)
    assert "dataset.max_megapixels must be above 0" in refusal(lambda: Single(photo, mask, max_megapixels=limit))


def test_the_limit_is_ours_and_settable(tmp_path):
    photo, mask = good(tmp_path)
    message = refusal(lambda: Single(photo, mask, max_megapixels=0.001)[0])
    assert "40 x 32 pixels are 0.0 megapixels, dataset.max_megapixels allows 0.001" in message
    (tmp_path / "big.png").write_bytes(header(15_000, 15_000))  # beyond Pillow's own limit of 179 megapixels
    assert image_size(tmp_path / "big.png") == (15_000, 15_000)


def test_damaged_exif_leaves_the_pixels(tmp_path):
    photo, mask = good(tmp_path)
    data = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "photo.png").write_bytes(data[:33] + chunk(b"eXIf", b"garbage, not TIFF") + data[33:])
    assert np.array_equal((Single(photo, mask)[0].image.permute(1, 2, 0) * 255).round().numpy(), PHOTO)


def test_megabytes_of_text_beside_the_pixels_are_no_damage(tmp_path):
    photo, mask = good(tmp_path)
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 3_000_000, zip=True)
    Image.fromarray(PHOTO).save(photo, pnginfo=text)
    assert np.array_equal((Single(photo, mask)[0].image.permute(1, 2, 0) * 255).round().numpy(), PHOTO)


def test_skipped_files_are_counted_and_named_once(tmp_path, caplog):
    good(tmp_path)
    for folder, source in (("images", "photo"), ("masks", "mask")):
        (tmp_path / folder).mkdir()
        (tmp_path / f"{source}.png").rename(tmp_path / folder / "a.png")
    for name in ("notes.txt", "b.psd", "c.psd", ".hidden", "...png", "._a.png"):
        (tmp_path / "images" / name).touch()
    with caplog.at_level("WARNING"):
        dataset = Folder(str(tmp_path / "images"), str(tmp_path / "masks"))
        assert len([composite.name for composite in dataset]) == 1
    expected = "3 files are skipped, they are not named like images (2 .psd, 1 .txt): b.psd, c.psd, notes.txt"
    assert [record.getMessage() for record in caplog.records] == ["1 hidden files are skipped: ...png", expected]


def through_the_command(command, folder, *overrides):
    """Run the paper's method with a model that does not exist: what is wrong with a file has to come first."""
    return command(*overrides, "backbone.path=/no/such/model", "trainer=cpu", f"hydra.run.dir={folder / 'run'}")


def single(photo, mask):
    photo, mask = (str(path).replace("'", "\\'") for path in (photo, mask))
    return ("dataset=single", f"dataset.image='{photo}'", f"dataset.mask='{mask}'")


@pytest.mark.slow
@pytest.mark.parametrize("kind", PHOTOS)
def test_bad_photos_through_the_command(tmp_path, command, tally, kind):
    overrides = single(PHOTOS[kind][0](tmp_path), good(tmp_path)[1])
    done = through_the_command(command, tmp_path, *overrides)
    assert tally("photos", done.outcome("a" if "null" in kind else "xxx" if "letters" in kind else "bad.")), done.error


@pytest.mark.slow
@pytest.mark.parametrize("kind", MASKS)
def test_bad_masks_through_the_command(tmp_path, command, tally, kind):
    make, says = MASKS[kind]
    done = through_the_command(command, tmp_path, *single(good(tmp_path)[0], make(tmp_path)))
    assert tally("masks", done.outcome("bad.", says)), done.error


@pytest.mark.slow
@pytest.mark.parametrize("kind", CAPTIONS)
def test_bad_captions_through_the_command(tmp_path, command, tally, kind):
    path = CAPTIONS[kind][0](tmp_path)
    overrides = (*single(*good(tmp_path)), "describer=file", f"describer.path={path}")
    done = through_the_command(command, tmp_path, *overrides)
    assert tally("caption files", done.outcome("bad.")), done.error
