import numpy as np
import pytest
from PIL import Image

from diffharmon.dataset.check import PUBLISHED, SPLITS, check
from diffharmon.dataset.iharmony4 import SUBSETS, IHarmony4
from diffharmon.errors import InputError


def picture(path, size=(24, 20), mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    array = random.integers(0, 255, (size[1], size[0], 3), np.uint8)
    if mask:
        array = np.zeros((size[1], size[0]), np.uint8)
        array[4:14, 4:14] = 255
    Image.fromarray(array).save(path)


@pytest.fixture
def root(tmp_path):
    for subset in SUBSETS:
        for number, split in enumerate((*SPLITS, "test")):
            name = f"{subset[1].lower()}-{number}_1_1.jpg"
            picture(tmp_path / subset / "composite_images" / name)
            picture(tmp_path / subset / "masks" / f"{name[:-6]}.png", mask=True)
            picture(tmp_path / subset / "real_images" / f"{name[:-8]}.jpg")
            with (tmp_path / subset / f"{subset}_{split}.txt").open("a") as lines:
                lines.write(name + "\n")
    return tmp_path


def found(root, **options):
    return [(problem.kind, problem.place) for problem in check(root, counts=False, **options)]


def test_published_numbers_add_up():
    assert sum(PUBLISHED[subset]["train"] for subset in SUBSETS) == 65742
    assert sum(PUBLISHED[subset]["test"] for subset in SUBSETS) == 7404


def test_nothing_wrong_but_the_numbers(root):
    assert found(root) == []
    problems = list(check(root))
    assert [(p.kind, p.place) for p in problems] == [("count", f"{s}/{split}") for s in SUBSETS for split in SPLITS]
    assert "2 composites are listed, 7,404" not in problems[1].text
    assert problems[1].text == "2 composites are listed, 4,283 were published"


def test_the_genuine_sample(shared):
    assert found(shared / "data" / "iharmony4_sample", splits=("test",)) == []


def damage(root, kind):
    folder = root / "HFlickr"
    mask, real = folder / "masks" / "f-0_1.png", folder / "real_images" / "f-0.jpg"
    composite = folder / "composite_images" / "f-0_1_1.jpg"
    if kind == "mask":
        mask.unlink()
    elif kind == "real":
        real.unlink()
    elif kind == "composite":
        composite.unlink()
    elif kind == "truncated":
        composite.write_bytes(composite.read_bytes()[:-200])
    elif kind == "text":
        real.write_text("<html>404</html>")
    elif kind == "size":
        picture(real, (30, 20))
    elif kind == "empty mask":
        Image.fromarray(np.zeros((20, 24), np.uint8)).save(mask)
    elif kind == "name":
        with (folder / "HFlickr_train.txt").open("a") as lines:
            lines.write("f0.jpg\n")
    elif kind == "twice":
        with (folder / "HFlickr_train.txt").open("a") as lines:
            lines.write("f-0_1_1.jpg\n")
    elif kind == "unlisted":
        picture(folder / "composite_images" / "f-9_1_1.jpg")
    elif kind == "list":
        (folder / "HFlickr_train.txt").unlink()
    elif kind == "subset":
        folder.rename(root / "Flickr")


@pytest.mark.parametrize(
    ("fault", "kind", "place", "names"),
    [
        ("mask", "missing", "HFlickr/train", "f-0_1.png"),
        ("real", "missing", "HFlickr/train", "f-0.jpg"),
        ("composite", "missing", "HFlickr/train", "f-0_1_1.jpg"),
        ("truncated", "file", "HFlickr/train", "f-0_1_1.jpg"),
        ("text", "unreadable", "HFlickr/train", "f-0.jpg"),
        ("size", "size", "HFlickr/train", "24 x 20, 24 x 20, 30 x 20"),
        ("empty mask", "file", "HFlickr/train", "is empty"),
        ("name", "name", "HFlickr/train", "f0.jpg"),
        ("twice", "list", "HFlickr/train", "f-0_1_1.jpg"),
        ("unlisted", "unlisted", "HFlickr", "f-9_1_1.jpg"),
        ("list", "list", "HFlickr/train", "HFlickr_train.txt"),
        ("subset", "subset", "HFlickr", "HFlickr is missing"),
    ],
)
def test_each_fault_is_found_alone_and_named(root, fault, kind, place, names):
    damage(root, fault)
    problems = list(check(root, counts=False))
    assert [(problem.kind, problem.place) for problem in problems] == [(kind, place)]
    assert names in problems[0].text


def test_headers_alone_miss_what_only_pixels_show(root):
    damage(root, "truncated")
    assert found(root, decode=False) == []
    damage(root, "size")
    assert found(root, decode=False) == [("size", "HFlickr/train")]


def test_a_common_list_stands_for_missing_ones(root):
    for subset in SUBSETS:
        own = root / subset / f"{subset}_test.txt"
        with (root / "IHD_test.txt").open("a") as lines:
            lines.write("".join(f"{subset}/composite_images/{name}\r\n" for name in own.read_text().split()))
        own.unlink()
    assert found(root) == []


def test_no_dataset_at_all(tmp_path):
    with pytest.raises(InputError, match="holds none of HCOCO"):
        list(check(tmp_path))


@pytest.mark.parametrize(("damaged", "code", "says"), [("", 0, "nothing is wrong"), ("mask", 1, "1 missing")])
def test_command(root, check_dataset, damaged, code, says):
    damage(root, damaged)
    done = check_dataset(root, "--sample")
    assert (done.returncode, says in done.stdout) == (code, True), done.stderr


def test_command_without_a_folder(tmp_path, check_dataset):
    done = check_dataset(tmp_path / "x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: root ")


@pytest.mark.parametrize("prefix", ["./", "iHarmony4/", "/data/iHarmony4/", ".\\"])
def test_lists_with_prefixes_and_files_saved_in_another_format(root, prefix):
    lines = []
    for subset in SUBSETS:
        (root / subset / f"{subset}_test.txt").rename(root / subset / "other.txt")
        lines += [
            f"{prefix}{subset}/composite_images/{name}" for name in (root / subset / "other.txt").read_text().split()
        ]
        for path in (root / subset / "composite_images").iterdir():
            with Image.open(path) as opened:
                opened.save(path.with_suffix(".png"))
            path.unlink()
    (root / "IHD_test.txt").write_text("\n".join(lines) + "\n")
    assert found(root) == []
    dataset = IHarmony4(str(root))
    assert len(dataset) == len(lines)
    assert {composite.source for composite in dataset} == set(SUBSETS)
