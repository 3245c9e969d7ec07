"""The layouts of benchmarks beside iHarmony4's own, each as a made folder of a few images."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from diffharmon import images
from diffharmon.config import build, composed
from diffharmon.dataset.check import check, check_flat, check_single, layout_of, subsets_of
from diffharmon.dataset.flat import Flat
from diffharmon.errors import InputError


def photo(path, value=100, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path, quality=95)
    return path


def mask(path, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((size[1], size[0]), np.uint8)
    array[4:14, 4:14] = 255
    Image.fromarray(array).save(path, quality=95)
    return path


def dataset(choice, root, *overrides):
    return build(composed([f"dataset={choice}", *overrides], {"dataset.root": str(root)}).dataset)


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


@pytest.fixture
def realhm(tmp_path):
    for folder, stem, ending in ((1, "0001", "small"), (2, "0001", "composite"), (3, "pexels-9", "composite")):
        place = tmp_path / f"vendor_testing_{folder}"
        photo(place / f"{stem}_{ending}.jpg", 90)
        mask(place / f"{stem}_mask.jpg")
        photo(place / f"{stem}_gt.jpg", 140)
    photo(tmp_path / "vendor_testing_3" / "pexels-9_small.jpg", 10, (12, 10))  # a preview beside the composite
    photo(tmp_path / "vendor_testing_3" / "pexels-9_composite_noise25.jpg", 10)
    photo(tmp_path / "__MACOSX" / "9_composite.jpg", 10)
    return tmp_path


def test_realhm(realhm):
    found = dataset("realhm", realhm)
    assert names(found) == ["vendor_testing_1-0001", "vendor_testing_2-0001", "pexels-9"]
    for composite in found:
        assert composite.source == "RealHM"
        assert abs(float(composite.image.mean()) * 255 - 90) < 2
        assert abs(float(composite.real.mean()) * 255 - 140) < 2
        assert 90 <= float((composite.mask > 0.5).sum()) <= 110
    assert layout_of(realhm) == "realhm"
    assert list(check_flat(found, "RealHM", counts=False)) == []
    assert [problem.text for problem in check_flat(found, "RealHM")] == ["3 composites are there, 216 were published"]


def test_benchmarks_are_measured_on_values_as_they_are_stored(realhm):
    """A profile in a file does not change the numbers that published ones are compared with."""
    path = realhm / "vendor_testing_1" / "0001_small.jpg"
    Image.new("RGB", (24, 20), (200, 60, 40)).save(path, icc_profile=imagecodecs.cms_profile("adobergb"))
    composite = dataset("realhm", realhm)[0]
    with Image.open(path) as picture:
        assert np.array_equal(images.to_uint8(composite.image).permute(1, 2, 0).numpy(), np.asarray(picture))


def test_realhm_without_ground_truth_is_an_error_of_that_image_alone(realhm):
    (realhm / "vendor_testing_2" / "0001_gt.jpg").unlink()
    found = dataset("realhm", realhm)
    assert found[0].real is not None
    with pytest.raises(InputError, match="0001 has 0 files for its real, expected one"):
        found[1]
    assert [problem.kind for problem in check_flat(found, counts=False)] == ["pair"]


@pytest.mark.parametrize("ending", ["", "_comp", "_composite"])
def test_real_composites_without_ground_truth(tmp_path, ending):
    for number in (1, 2, 10):
        photo(tmp_path / f"{number}{ending}.jpg", 10 * number)
        mask(tmp_path / f"{number}_mask.{'png' if number % 2 else 'jpg'}")
    found = dataset("real_composites", tmp_path)
    assert names(found) == ["1", "2", "10"]
    assert all(composite.real is None and composite.source == "real composites" for composite in found)
    assert layout_of(tmp_path) == "real_composites"
    assert list(check_flat(found, counts=False)) == []
    (tmp_path / "2_mask.jpg").unlink()
    assert [problem.kind for problem in check_flat(Flat(str(tmp_path)), counts=False)] == ["pair"]


def test_two_composites_of_one_name_are_refused_when_read(tmp_path):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "a.png")
    mask(tmp_path / "a_mask.png")
    with pytest.raises(InputError, match=r"a has 2 files for its photo \(a\.jpg, a\.png\), expected one"):
        Flat(str(tmp_path))[0]


def test_a_folder_of_another_layout_is_refused(tmp_path):
    photo(tmp_path / "composite" / "a.jpg")
    mask(tmp_path / "mask" / "a.png")
    with pytest.raises(InputError, match=r"holds no composite NAME_composite .* with a mask NAME_mask"):
        Flat(str(tmp_path))


def test_ccharmony_lists_foregrounds(tmp_path):
    for image, numbers in (("8D5U5594_a", (1, 2)), ("Canon1DsMkIII_0010_a", (1,))):
        for number in numbers:
            photo(tmp_path / "composite_images" / f"{image}_{number}.jpg", 90)
        mask(tmp_path / "masks" / f"{image}.png")
        photo(tmp_path / "real_images" / f"{image.rsplit('_', 1)[0]}.jpg", 140)
    (tmp_path / "test_list.txt").write_text("8D5U5594_a\nCanon1DsMkIII_0010_a\n")
    found = dataset("ccharmony", tmp_path)
    assert names(found) == ["8D5U5594_a_1", "8D5U5594_a_2", "Canon1DsMkIII_0010_a_1"]
    assert {composite.source for composite in found} == {"ccHarmony"}
    assert layout_of(tmp_path) == "ccharmony"
    assert list(check_single(tmp_path, ["test"], counts=False)) == []
    assert [p.text for p in check_single(tmp_path, ["test"])] == ["3 composites are listed, 1,180 were published"]
    assert [p.kind for p in check_single(tmp_path, counts=False)] == ["list"]  # no train_list.txt


@pytest.mark.parametrize("place", ["HAdobe5kr/HAdobe5k_test.txt", "HAdobe5kr/HAdobe5kr_test.txt", "IHD_test.txt"])
def test_the_shrunk_hadobe5k(tmp_path, place):
    folder = tmp_path / "HAdobe5kr"
    for number in (1, 2):
        photo(folder / "composite_images" / f"a000{number}_1_1.jpg", 90)
        mask(folder / "masks" / f"a000{number}_1.png")
        photo(folder / "real_images" / f"a000{number}.jpg", 140)
    start = "HAdobe5k/composite_images/" if place.startswith("IHD") else ""
    (tmp_path / place).write_text("".join(f"{start}a000{number}_1_1.jpg\n" for number in (1, 2)))
    found = dataset("hadobe5kr", tmp_path)
    assert names(found) == ["a0001_1_1", "a0002_1_1"]
    assert {composite.source for composite in found} == {"HAdobe5kr"}
    assert subsets_of(tmp_path) == ["HCOCO", "HAdobe5kr", "HFlickr", "Hday2night"]
    assert list(check(tmp_path, ["HAdobe5kr"], ["test"], counts=False)) == []
    (problem,) = check(tmp_path, ["HAdobe5kr"], ["test"])
    assert problem.text == "2 composites are listed, 2,160 were published"


def test_the_command_recognizes_the_layout(realhm, check_dataset):
    done = check_dataset(realhm, "--sample")
    assert (done.returncode, done.stdout.splitlines()) == (0, ["layout: realhm", "nothing is wrong"]), done.stderr
