"""Descriptions from files."""

import json
from dataclasses import replace

import pytest

from diffharmon.describer.file import File
from diffharmon.errors import InputError


@pytest.fixture
def write(tmp_path):
    def make(text, name="caption.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return make


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "composites"
    folder.mkdir()
    for name in ("b.png", "a.jpg", "photo.png"):
        (folder / name).touch()
    return str(folder)


def test_lines_without_names_follow_the_sorted_images(write, images, composite):
    path = write("cat bright,cat dim\ndog cold icy,dog warm\ngirl sunny,girl sunset;girl dim cool,girl bright warm\n")
    file = File(path, images)
    assert file.describe(replace(composite, name="a")).object == "cat"
    assert file.describe(replace(composite, name="x/b.png")).foreground == ("cold", "icy")
    assert file.describe(composite).background == ("sunset",)


def test_one_line_for_one_image(write, images, composite):
    assert File(write("cat bright,cat dim"), f"{images}/photo.png").describe(composite).foreground == ("bright",)


def numbered(tmp_path):
    folder = tmp_path / "numbered"
    folder.mkdir(exist_ok=True)
    for number in range(1, 13):
        (folder / f"{number}.png").touch()
    return str(folder)


@pytest.mark.parametrize(("order", "expected"), [("natural", "thing10"), ("alphabetical", "thing2")])
def test_numbered_images_follow_the_order_that_was_set(write, tmp_path, composite, order, expected):
    path = write("".join(f"thing{n} dim,thing{n} bright\n" for n in range(1, 13)))
    file = File(path, numbered(tmp_path), order)
    assert file.describe(replace(composite, name="10")).object == expected


def test_lines_are_refused_where_two_orders_differ_and_nothing_names_the_image(write, tmp_path):
    path = write("".join(f"thing{n} dim,thing{n} bright\n" for n in range(1, 13)))
    with pytest.raises(InputError, match=r"line 2 is for 2\.png in natural order but for 10\.png .*describer\.order"):
        File(path, numbered(tmp_path))
    with pytest.raises(InputError, match="natural, alphabetical, or null, got size"):
        File(path, numbered(tmp_path), "size")


def test_names_come_before_order(write, tmp_path, composite):
    path = write("".join(f"{n}\tthing{n} dim,thing{n} bright\n" for n in (12, 3, *range(4, 12), 1, 2)))
    file = File(path, numbered(tmp_path))
    assert all(file.describe(replace(composite, name=str(n))).object == f"thing{n}" for n in range(1, 13))


def test_accents_in_names_have_one_form(write, composite):
    file = File(write("cafe\u0301\tcat bright,cat dim"))
    assert file.describe(replace(composite, name="caf\u00e9")).object == "cat"


def test_a_second_description_is_used_after_the_first(write, composite, attempt):
    file = File(write("photo\tcat bright,cat dim; cat warm sunny,cat cool ;cat dull,cat golden"))
    first = file.describe(composite)
    assert first.foreground == ("bright",)
    second = file.describe(composite, [attempt(first, iteration=-1)])
    assert second == file.describe(composite, [attempt(first, iteration=-1), attempt(first)])
    assert second.foreground == ("warm", "sunny")
    swapped = replace(second, foreground=("sunny", "warm"), describer="somebody")
    third = file.describe(composite, [attempt(first), attempt(swapped)])
    assert third.foreground == ("dull",)
    everything = [attempt(first, 0.3), attempt(first, 0.9), attempt(second, 0.6), attempt(third, 0.1)]
    assert file.describe(composite, everything) == second, "tried less often than the first, not the latest"
    once_each = [attempt(first, 0.7), attempt(second, 0.6), attempt(third, 0.1)]
    assert file.describe(composite, once_each) == first, "the best score among equally tried ones"


def test_json_lines(write, composite, attempt):
    rows = [
        {"name": "other", "object": "dog", "foreground": ["dim"], "background": ["bright"]},
        {
            "name": "photo",
            "object": "palm tree",
            "foreground": "dim cool",
            "background": ["bright"],
            "describer": "gemini",
        },
        {"name": "photo", "object": "palm tree", "foreground": ["dull"], "background": ["sunny"]},
    ]
    file = File(write("\n".join(json.dumps(row) for row in rows) + "\n\n", "words.jsonl"))
    first = file.describe(composite)
    assert (first.object, first.foreground, first.describer) == ("palm tree", ("dim", "cool"), "file (gemini)")
    assert file.describe(composite, [attempt(first)]).foreground == ("dull",)
    with pytest.raises(InputError, match=r"no description of image 'else'.*2 names are other, photo"):
        file.describe(replace(composite, name="else"))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("photo\tcat bright", "c.txt", "c.txt:1.*0 commas"),
        ("photo\tcat a,cat b,cat c", "c.txt", "2 commas"),
        ("photo\tcat a,cat b\nother\tcat,cat b", "c.txt", "c.txt:2.*no foreground"),
        ("photo\tcat a,dog b", "c.txt", "different words"),
        ("photo\tcat a,cat b\ncat a,cat b", "c.txt", "c.txt:2.*<TAB>"),
        ("cat a,cat b", "c.txt", "no image names.*describer.images"),
        ("", "c.txt", "empty"),
        ('{"name": "photo"', "c.jsonl", "c.jsonl:1.*not JSON"),
        ('["photo"]', "c.jsonl", "'name' is None"),
        ('{"name": "photo", "object": "cat", "foreground": [1], "background": "b"}', "c.jsonl", "must be words"),
        ('{"name": "photo", "object": "cat", "foreground": [], "background": "b"}', "c.jsonl", "no foreground"),
    ],
)
def test_faults_name_the_line(write, text, name, message):
    with pytest.raises(InputError, match=message):
        File(write(text, name))


def test_files_that_cannot_be_paired(write, images, tmp_path):
    with pytest.raises(InputError, match=r"1 lines but .* has 3 images"):
        File(write("cat a,cat b"), images)
    with pytest.raises(InputError, match="does not exist"):
        File(write("cat a,cat b"), images + "x")
    with pytest.raises(InputError, match="does not exist"):
        File(str(tmp_path / "absent.txt"))
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    with pytest.raises(InputError, match="UTF-8"):
        File(str(tmp_path / "latin.txt"))


def test_the_shared_captions(shared, composite):
    folder = shared / "data" / "composites" / "diff_harmonization_demo"
    file = File(str(folder / "captions.txt"))
    for name in ("003", "010", "014", "020"):
        assert (folder / "composite" / f"{name}.png").is_file() or (folder / "composite" / f"{name}.jpg").is_file()
        assert file.describe(replace(composite, name=name)).foreground
    assert file.describe(replace(composite, name="015")).background == ("sunset",)
