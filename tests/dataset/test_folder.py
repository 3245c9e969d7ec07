import os

import numpy as np
import pytest
import torch
from PIL import Image

from diffharmon.dataset.folder import Folder
from diffharmon.dataset.single import Single
from diffharmon.errors import InputError
from diffharmon.protocols import Dataset


def write(path, value=0, size=(24, 20), mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((size[1], size[0]) if mask else (size[1], size[0], 3), value, np.uint8)
    if mask:
        array[5:12, 5:12] = 255
    Image.fromarray(array).save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    for number, name in enumerate(("b", "a", "c-1_2")):
        write(tmp_path / "images" / f"{name}.jpg", 40 * number)
        write(tmp_path / "masks" / f"{name}.png", mask=True)
        write(tmp_path / "reals" / f"{name}.png", 40 * number + 20)
    return tmp_path


def build(root, **options):
    return Folder(str(root / "images"), str(root / "masks"), **options)


def test_pairs_by_stem_in_order_of_name(folders):
    dataset = build(folders, reals=str(folders / "reals"))
    assert isinstance(dataset, Dataset)
    assert [dataset.name(index) for index in range(len(dataset))] == ["a", "b", "c-1_2"]
    composite = dataset[1]
    assert composite.name == "b"
    assert composite.image.shape == (3, 20, 24)
    assert composite.mask.sum() == 49
    assert torch.allclose(composite.real, torch.tensor(20 / 255))
    assert build(folders)[0].real is None


def test_iteration_ends(folders):
    assert [composite.name for composite in build(folders)] == ["a", "b", "c-1_2"]
    assert len(list(Single(str(folders / "images" / "a.jpg"), str(folders / "masks" / "a.png")))) == 1


def test_names_of_the_reference_and_one_common_folder(tmp_path, shared):
    root = shared / "parity" / "inputs"
    dataset = Folder(str(root), str(root))
    assert [dataset.name(index) for index in range(len(dataset))] == ["girl_comp", "house_comp"]
    assert dataset[1].alpha is not None
    assert 0.01 < float(dataset[0].mask.mean()) < 0.9


@pytest.mark.parametrize(
    "source",
    ["bargainnet_examples", "dccf_assets", "diff_harmonization_demo", "harmonizer_demo", "inr_demo", "libcom_tests"],
)
def test_real_layouts_are_read(shared, source):
    root = shared / "data" / "composites" / source
    dataset = Folder(str(root / "composite"), str(root / "mask"))
    assert len(dataset) == len(list((root / "composite").iterdir()))
    for index in range(min(len(dataset), 3)):
        composite = dataset[index]
        assert composite.image.shape[1:] == composite.mask.shape[1:]


def test_unmatched_names_are_listed_both_ways(folders):
    write(folders / "images" / "lonely.jpg")
    for number in range(7):
        write(folders / "masks" / f"orphan{number}.png", mask=True)
    with pytest.raises(InputError) as caught:
        build(folders)
    message = str(caught.value)
    assert "1 composites" in message
    assert "lonely.jpg" in message
    assert "7 masks" in message
    assert "orphan0.png, orphan1.png" in message
    assert "orphan6" not in message


def test_double_names_and_double_masks_are_refused(folders):
    write(folders / "images" / "a.png")
    with pytest.raises(InputError, match="same name as a"):
        build(folders)
    (folders / "images" / "a.png").unlink()
    write(folders / "masks" / "a_mask.png", mask=True)
    with pytest.raises(InputError, match=r"more than one mask: a\.png, a_mask\.png"):
        build(folders)


def test_missing_real_is_refused(folders):
    (folders / "reals" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.jpg has 0 real photos"):
        build(folders, reals=str(folders / "reals"))


def test_decomposed_unicode_names_pair(tmp_path):
    write(tmp_path / "images" / "cafe\u0301.jpg")
    write(tmp_path / "masks" / "caf\u00e9.png", mask=True)
    dataset = build(tmp_path)
    assert dataset.name(0) == "caf\u00e9"
    assert dataset[0].mask.sum() == 49


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_missing_and_empty_folders(folders, missing):
    options = {"images": str(folders / "images"), "masks": str(folders / "masks"), missing: str(folders / "nowhere")}
    with pytest.raises(InputError, match=rf"dataset\.{missing} .*nowhere is not a folder"):
        Folder(**options)
    (folders / "none").mkdir()
    with pytest.raises(InputError, match="holds no image files"):
        Folder(str(folders / "none"), str(folders / "masks"))


def test_faults_are_raised_one_by_one_when_not_strict(folders):
    images, masks = folders / "images", folders / "masks"
    write(images / "no_mask_here.jpg")
    write(masks / "orphan.png", mask=True)
    write(images / "other_size.jpg")
    write(masks / "other_size.png", mask=True, size=(30, 20))
    write(images / "blank.jpg")
    Image.new("L", (24, 20)).save(masks / "blank.png")
    write(images / "whole.jpg")
    Image.new("L", (24, 20), 255).save(masks / "whole.png")
    (images / "folder.jpg").mkdir()
    write(masks / "folder.png", mask=True)
    write(images / "cut.jpg", size=(200, 200))
    os.truncate(images / "cut.jpg", 700)
    write(masks / "cut.png", mask=True)
    (images / ".hidden.jpg").write_bytes(b"")
    (images / "notes.txt").write_text("no image")
    dataset = build(folders, strict=False)
    faults, good = {}, []
    for index in range(len(dataset)):
        try:
            good.append(dataset[index].name)
        except InputError as error:
            faults[dataset.name(index)] = str(error)
    assert good == ["a", "b", "c-1_2"]
    assert set(faults) == {"no_mask_here", "orphan.png", "other_size", "blank", "whole", "folder", "cut"}
    for name, words in {
        "no_mask_here": "has no mask",
        "orphan.png": "no composite",
        "other_size": "30 x 20 pixels, expected 24 x 20",
        "blank": "is empty",
        "whole": "covers the whole",
        "folder": "is a folder",
        "cut": "damaged",
    }.items():
        assert words in faults[name]
        assert name in faults[name]


def test_real_of_another_size(folders):
    write(folders / "reals" / "a.png", size=(10, 10))
    with pytest.raises(InputError, match=r"a\.png is 10 x 10 pixels, expected 24 x 20"):
        build(folders, reals=str(folders / "reals"))[0]


def test_limit_is_a_fixed_subset(folders):
    names = [[build(folders, limit=2, seed=seed).name(index) for index in range(2)] for seed in (0, 0, *range(1, 9))]
    assert names[0] == names[1]
    assert len({tuple(chosen) for chosen in names}) > 1
    assert len(build(folders, limit=9)) == 3
    with pytest.raises(InputError, match="limit"):
        build(folders, limit=0)


def test_single(folders):
    paths = [str(folders / kind / name) for kind, name in (("images", "a.jpg"), ("masks", "a.png"), ("reals", "a.png"))]
    dataset = Single(*paths)
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 1
    assert dataset[0].name == dataset.name(0) == "a"
    assert torch.allclose(dataset[0].real, torch.tensor(60 / 255))
    with pytest.raises(InputError, match=r"dataset\.mask .*b0\.png does not exist"):
        Single(paths[0], str(folders / "masks" / "b0.png"))
