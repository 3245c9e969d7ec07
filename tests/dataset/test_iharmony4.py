import numpy as np
import pytest
from PIL import Image

from diffharmon.dataset.iharmony4 import SUBSETS, IHarmony4
from diffharmon.dataset.selection import choose
from diffharmon.errors import InputError
from diffharmon.images import to_uint8
from diffharmon.protocols import Dataset


def picture(path, value=100, mask=False, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((size[1], size[0]) if mask else (size[1], size[0], 3), value, np.uint8)
    if mask:
        array[:] = 0
        array[4:14, 4:14] = 255
    Image.fromarray(array).save(path)


def triple(root, subset, image, mask, number):
    folder = root / subset
    picture(folder / "composite_images" / f"{image}_{mask}_{number}.jpg", 100)
    picture(folder / "masks" / f"{image}_{mask}.png", mask=True)
    picture(folder / "real_images" / f"{image}.jpg", 140)
    with (folder / f"{subset}_test.txt").open("a") as lines:
        lines.write(f"{image}_{mask}_{number}.jpg\r\n")


@pytest.fixture
def root(tmp_path):
    for number in range(1, 7):
        triple(tmp_path, "HCOCO", f"c{number}", "55", 1)
    for number in range(1, 4):
        triple(tmp_path, "HAdobe5k", f"a000{number}", "1", 2)
    triple(tmp_path, "Hday2night", "d1048-20120628-200951", "1", 3)
    return tmp_path


def names(dataset):
    return [dataset.name(index) for index in range(len(dataset))]


def test_all_subsets_in_the_official_order(root):
    dataset = IHarmony4(str(root))
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 10
    assert [dataset[index].source for index in (0, 5, 6, 9)] == ["HCOCO", "HCOCO", "HAdobe5k", "Hday2night"]
    composite = dataset[9]
    assert composite.name == "d1048-20120628-200951_1_3"
    assert composite.mask.sum() == 100
    assert abs(float(composite.real.mean()) * 255 - 140) < 2


@pytest.mark.parametrize(
    ("subset", "count"), [("HCOCO", 6), (["HAdobe5k", "Hday2night"], 4), (["Hday2night"], 1), (None, 10)]
)
def test_subsets(root, subset, count):
    assert len(IHarmony4(str(root), subset)) == count


def test_sample_of_the_real_dataset(shared):
    folder = shared / "data" / "iharmony4_sample"
    dataset = IHarmony4(str(folder))
    lists = sum(len((folder / subset / f"{subset}_test.txt").read_text().split()) for subset in SUBSETS)
    assert len(dataset) == lists == 15
    for index in range(len(dataset)):
        composite = dataset[index]
        path = folder / composite.source / "composite_images" / f"{composite.name}.jpg"
        with Image.open(path) as opened:
            assert np.array_equal(to_uint8(composite.image).permute(1, 2, 0).numpy(), np.asarray(opened.convert("RGB")))
        assert composite.real.shape == composite.image.shape


@pytest.mark.parametrize("filter", ["bicubic", "bilinear"])
def test_size_resizes_as_pil_does(shared, filter):
    folder = shared / "data" / "iharmony4_sample"
    composite = IHarmony4(str(folder), "HFlickr", size=256, filter=filter)[0]
    stem = composite.name.rsplit("_", 2)
    method = getattr(Image.Resampling, filter.upper())
    for tensor, path in (
        (composite.image, f"composite_images/{composite.name}.jpg"),
        (composite.mask, f"masks/{stem[0]}_{stem[1]}.png"),
        (composite.real, f"real_images/{stem[0]}.jpg"),
    ):
        with Image.open(folder / "HFlickr" / path) as opened:
            expected = np.asarray(opened.resize((256, 256), method)).reshape(256, 256, -1)
        assert np.array_equal(to_uint8(tensor).permute(1, 2, 0).numpy(), expected[..., : tensor.shape[0]])


def test_common_list_serves_where_a_subset_has_none(root):
    lines = [f"HAdobe5k/composite_images/a000{n}_1_2.jpg" for n in (1, 2)] + ["HCOCO/composite_images/c1_55_1.jpg"]
    (root / "IHD_test.txt").write_text("\n".join(lines))
    (root / "HAdobe5k" / "HAdobe5k_test.txt").unlink()
    assert names(IHarmony4(str(root), "HAdobe5k")) == ["a0001_1_2", "a0002_1_2"]


def test_missing_lists_say_what_was_looked_for(root):
    with pytest.raises(InputError, match=r"HCOCO_train\.txt"):
        IHarmony4(str(root), "HCOCO", split="train")
    with pytest.raises(InputError, match="HFlickr"):
        IHarmony4(str(root), "HFlickr")
    with pytest.raises(InputError, match="IHARMONY4_ROOT"):
        IHarmony4(str(root / "nowhere"))
    (root / "other").mkdir()
    with pytest.raises(InputError, match="expected the layout of iHarmony4"):
        IHarmony4(str(root / "other"))


def test_repeated_names_are_refused(root):
    with (root / "HCOCO" / "HCOCO_test.txt").open("a") as lines:
        lines.write("c1_55_1.jpg\n")
    with pytest.raises(InputError, match="c1_55_1"):
        IHarmony4(str(root))


def test_faults_belong_to_their_image(root):
    (root / "HCOCO" / "masks" / "c1_55.png").unlink()
    (root / "HCOCO" / "real_images" / "c2.jpg").unlink()
    (root / "HCOCO" / "composite_images" / "c3_55_1.jpg").unlink()
    with (root / "HCOCO" / "HCOCO_test.txt").open("a") as lines:
        lines.write("strange.jpg\n")
    dataset = IHarmony4(str(root), "HCOCO")
    for index, words in ((0, "c1_55.png"), (1, "c2.jpg"), (2, "c3_55_1.jpg"), (6, "strange.jpg")):
        with pytest.raises(InputError, match=words):
            dataset[index]
    assert dataset[3].name == "c4_55_1"


def test_ccharmony_lists_foregrounds_and_has_underscores_in_names(tmp_path):
    root = tmp_path / "ccHarmony"
    for image in ("Canon1DsMkIII_0010", "8D5U5594"):
        for number in (1, 2):
            picture(root / "composite_images" / f"{image}_a_{number}.jpg")
        picture(root / "masks" / f"{image}_a.png", mask=True)
        picture(root / "real_images" / f"{image}.jpg", 150)
    (root / "test_list.txt").write_text("8D5U5594_a\nCanon1DsMkIII_0010_a\n")
    dataset = IHarmony4(str(root))
    assert names(dataset) == [f"{image}_a_{n}" for image in ("8D5U5594", "Canon1DsMkIII_0010") for n in (1, 2)]
    composite = dataset[3]
    assert composite.source == "ccHarmony"
    assert composite.mask.sum() == 100
    assert abs(float(composite.real.mean()) * 255 - 150) < 2


def test_one_subset_folder_is_a_root(root):
    dataset = IHarmony4(str(root / "HAdobe5k"))
    assert len(dataset) == 3
    assert dataset[0].source == "HAdobe5k"


def test_limit_keeps_the_shares_of_the_sources(root):
    dataset = IHarmony4(str(root), limit=5, seed=1)
    sources = [dataset[index].source for index in range(len(dataset))]
    assert sources.count("HCOCO") == 3
    assert len(sources) == 5
    assert names(dataset) == names(IHarmony4(str(root), limit=5, seed=1))


def test_choice_is_stratified_and_the_same_everywhere():
    sources = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    labels = [f"image{number}" for number in range(100)]
    for limit in (1, 3, 10, 37, 99):
        chosen = choose(labels, sources, limit, 0)
        assert len(set(chosen)) == limit
        assert chosen == sorted(chosen)
        for source, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
            assert abs(sum(sources[index] == source for index in chosen) - share * limit) < 1
    assert choose(labels, sources, 4, 0) == CHOSEN
    assert choose(labels, sources, 10, 0) != choose(labels, sources, 10, 1)
    assert set(choose(labels, sources, 10, 0)) < set(choose(labels, sources, 40, 0))


# Fixed by sha256; the subset that a published table was made on must never move.
CHOSEN = [17, 35, 67, 95]
