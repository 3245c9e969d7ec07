"""A dataset folder with planted faults runs to its end: good images are scored, each fault is one row that names it."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from diffharmon.config import composed
from diffharmon.errors import InputError
from diffharmon.results import read_rows
from diffharmon.run import execute

SIDE = 24
# Names that have broken other readers; nothing is wrong with them.
GOOD = ("c1_55_1", "d1048-20120628-200951_1_3", "Canon_0010_a_1_2", unicodedata.normalize("NFC", "žluť-ü_7_1"), "g_1_1")


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def plant(root, name):
    """A good triple; gives its composite, mask and real."""
    image, mask, _ = name.rsplit("_", 2)
    random = np.random.default_rng(0)
    real = random.integers(0, 200, (SIDE, SIDE, 3), np.uint8)
    cover = np.zeros((SIDE, SIDE), np.uint8)
    cover[4:14, 4:14] = 255
    paths = (
        root / "composite_images" / f"{name}.jpg",
        root / "masks" / f"{image}_{mask}.png",
        root / "real_images" / f"{image}.jpg",
    )
    for path, array in zip(
        paths, (np.where(cover[..., None] > 0, real + 40, real).astype(np.uint8), cover, real), strict=True
    ):
        write(path, array)
    return paths


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def folder_instead(path):
    path.unlink()
    path.mkdir()


# name of the composite: what happens to its composite, mask and real, and what its row must say
FAULTS = {
    "nomask_1_1": (lambda c, m, r: m.unlink(), "nomask_1.png"),
    "noreal_1_1": (lambda c, m, r: r.unlink(), "noreal.jpg"),
    "nocomposite_1_1": (lambda c, m, r: c.unlink(), "nocomposite_1_1.jpg"),
    "truncated_1_1": (lambda c, m, r: cut(c), "truncated_1_1.jpg"),
    "cutmask_1_1": (lambda c, m, r: cut(m), "cutmask_1.png"),
    "cutreal_1_1": (lambda c, m, r: cut(r), "cutreal.jpg"),
    "masksize_1_1": (lambda c, m, r: write(m, np.eye(SIDE + 6, dtype=np.uint8) * 255), "30 x 30 pixels, expected 24"),
    "realsize_1_1": (lambda c, m, r: write(r, np.zeros((SIDE, SIDE + 6, 3), np.uint8)), "30 x 24 pixels, expected 24"),
    "emptymask_1_1": (lambda c, m, r: write(m, np.zeros((SIDE, SIDE), np.uint8)), "is empty"),
    "fullmask_1_1": (lambda c, m, r: write(m, np.full((SIDE, SIDE), 255, np.uint8)), "covers the whole image"),
    "zerobytes_1_1": (lambda c, m, r: c.write_bytes(b""), "zerobytes_1_1.jpg"),
    "webpage_1_1": (lambda c, m, r: c.write_text("<html>404 Not Found</html>"), "webpage_1_1.jpg"),
    "folder_1_1": (lambda c, m, r: folder_instead(c), "folder_1_1.jpg"),
    "speck_1_1": (lambda c, m, r: write(c, np.zeros((4, 4, 3), np.uint8)), "speck_1_1.jpg"),
    "unnamed": (None, "not named <image>_<mask>_<number>"),
}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "Faulty"
    for name in GOOD:
        plant(folder, name)
    for name, (damage, _) in FAULTS.items():
        if damage is not None:
            damage(*plant(folder, name))
    order = sorted((*GOOD, *FAULTS), key=lambda name: name[::-1])
    (folder / "Faulty_test.txt").write_text("\n".join(f"{name}.jpg" for name in order) + "\n", encoding="utf-8")
    return folder


def run(root, output):
    config = composed(["dataset=iharmony4", "method=identity", "trainer=cpu"], {"dataset.root": str(root)})
    with pytest.raises(InputError) as raised:
        execute(config, output)
    return str(raised.value), read_rows(output)


def test_fifteen_faults(root, tmp_path):
    assert len(FAULTS) == 15
    message, rows = run(root, tmp_path / "out")
    assert message.startswith("15 of 20 images failed; the first, ")
    assert sorted(row["name"] for row in rows) == sorted((*GOOD, *FAULTS))
    by_name = {row["name"]: row for row in rows}
    for name in GOOD:
        assert by_name[name]["status"] == "ok"
        assert 10 < by_name[name]["fpsnr"] < 20
        assert (tmp_path / "out" / "images" / name / "harmonized.png").is_file()
    for name, (_, says) in FAULTS.items():
        assert by_name[name]["status"] == "error", name
        assert says in by_name[name]["error"], by_name[name]["error"]
        assert "\n" not in by_name[name]["error"]


def test_a_mended_fault_is_done_by_the_next_run_and_nothing_else(root, tmp_path):
    run(root, tmp_path / "out")
    plant(root, "emptymask_1_1")
    message, rows = run(root, tmp_path / "out")
    assert message.startswith("14 of 20 images failed")
    finished = [row["name"] for row in rows if row["status"] == "ok"]
    assert sorted(finished) == sorted((*GOOD, "emptymask_1_1"))
