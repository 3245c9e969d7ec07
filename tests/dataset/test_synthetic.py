import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffharmon.condition.vocabulary import list_of
from diffharmon.config import build, composed
from diffharmon.dataset.iharmony4 import IHarmony4
from diffharmon.dataset.synthetic import Synthetic, draw_words
from diffharmon.describer.file import File
from diffharmon.errors import ConfigError, InputError
from diffharmon.images import to_uint8
from diffharmon.metrics import fpsnr
from diffharmon.protocols import Dataset

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def photo(folder, stem, boxes, size=(64, 48)):
    """A noisy photo and one rectangular mask for each box (left, top, right, bottom)."""
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(stem) + ord(stem[-1]))
    ramp = np.linspace(40, 200, size[0] * size[1]).reshape(size[1], size[0], 1)
    pixels = (ramp + random.normal(0, 12, (size[1], size[0], 3))).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / f"{stem}.png")
    for number, (left, top, right, bottom) in enumerate(boxes):
        mask = np.zeros((size[1], size[0]), np.uint8)
        mask[top:bottom, left:right] = 255
        Image.fromarray(mask).save(folder / "masks" / f"{stem}__{number}__red-car.png")


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for stem in "abcd":
        photo(root / "street", f"s_{stem}", [(10, 10, 40, 40)])
    photo(root / "sea", "e", [(5, 5, 30, 30), (30, 10, 60, 40)])
    photo(root / "sea", "tiny", [(5, 5, 8, 8)])
    photo(root / "sea", "whole", [(0, 0, 64, 48)])
    return root


def everything(dataset):
    return [(dataset.name(i), dataset[i].image, dataset.description(i).foreground) for i in range(len(dataset))]


def test_triples(photos):
    dataset = Synthetic(str(photos))
    assert isinstance(dataset, Dataset)
    assert sorted(dataset.name(i) for i in range(len(dataset))) == [
        "e_0_1", "e_1_1", "s_a_0_1", "s_b_0_1", "s_c_0_1", "s_d_0_1",
    ]  # fmt: skip
    for index in range(len(dataset)):
        composite, said = dataset[index], dataset.description(index)
        mask = composite.mask > 0
        assert composite.source in {"street", "sea"}
        assert torch.equal(composite.image[:, ~mask[0]], composite.real[:, ~mask[0]])
        assert 10 < fpsnr(composite.image, composite.real, composite.mask) < 28
        assert torch.equal(composite.image, to_uint8(composite.image).float() / 255)
        assert said.object == "car"
        assert said.background == ("daylight",)
        assert "daylight" not in said.foreground


def test_the_same_seed_makes_the_same_and_another_seed_others(photos):
    first, again, other = (everything(Synthetic(str(photos), seed=seed)) for seed in (1, 1, 2))
    assert all(a[0] == b[0] and torch.equal(a[1], b[1]) and a[2] == b[2] for a, b in zip(first, again, strict=True))
    by_name = {name: image for name, image, _ in other}
    assert not any(torch.equal(image, by_name[name]) for name, image, _ in first)


def test_more_than_one_grade_a_mask_and_a_limit(photos):
    names = [name for name, _, _ in everything(Synthetic(str(photos), count=9))]
    assert len(set(names)) == 9
    assert sum(name.endswith("_2") for name in names) == 3
    few = Synthetic(str(photos), count=9, limit=4)
    assert [few.name(i) for i in range(4)] == [name for name in names if name in {few.name(i) for i in range(4)}]
    assert len(Synthetic(str(photos), count=2)) == 2


def test_words_reach_a_describer_only_through_their_file(photos, tmp_path):
    path = tmp_path / "kept" / "words.jsonl"
    dataset = Synthetic(str(photos), words=str(path))
    describer = File(str(path))
    for index in range(len(dataset)):
        said, true = describer.describe(dataset[index].blind()), dataset.description(index)
        assert (said.object, said.foreground, said.background) == (true.object, true.foreground, true.background)
    assert not hasattr(dataset[0], "description")


def test_words_in_a_configuration(photos, tmp_path):
    values = {"dataset.photos": str(photos), "dataset.words": str(tmp_path / "words.jsonl")}
    config = composed(["dataset=synthetic", "describer=file", "describer.path=${dataset.words}"], values)
    dataset = build(config.dataset)
    assert build(config.describer).describe(dataset[0]).foreground == dataset.description(0).foreground
    with pytest.raises(ConfigError, match=r"dataset\.photos"):
        composed(["dataset=synthetic"])


def test_drawn_words_come_from_different_lists():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_words(generator, ("daylight",)) for _ in range(300)]
    assert {len(words) for words in drawn} == {1, 2, 3, 4}
    assert all(len({list_of(word) for word in words}) == len(words) for words in drawn)


def test_faults(photos, tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        Synthetic(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="4 masks of its photos found"):
        Synthetic(str(photos / "sea"), min_area=0.4, max_area=0.5, count=3)
    with pytest.raises(ConfigError, match="min_psnr: expected less than max_psnr"):
        Synthetic(str(photos), min_psnr=30.0)
    photo(photos / "lake", "e", [(5, 5, 30, 30)])
    with pytest.raises(InputError, match="both give the composite e_0_1"):
        Synthetic(str(photos))


def test_a_broken_mask_fails_alone(photos):
    (photos / "sea" / "masks" / "e__0__red-car.png").write_bytes(b"no picture")
    dataset = Synthetic(str(photos), words=str(photos / "words.jsonl"))
    broken = [i for i in range(len(dataset)) if dataset.name(i) == "e_0_1"]
    with pytest.raises(InputError, match="e__0__red-car"):
        dataset[broken[0]]
    assert len((photos / "words.jsonl").read_text().splitlines()) == len(dataset) - 1


def test_a_mask_of_another_size_is_named(photos):
    photo(photos / "sea", "odd", [(5, 5, 30, 30)])
    Image.fromarray(np.eye(20, dtype=np.uint8) * 255).save(photos / "sea" / "masks" / "odd__0__red-car.png")
    dataset = Synthetic(str(photos))
    odd = next(i for i in range(len(dataset)) if dataset.name(i) == "odd_0_1")
    with pytest.raises(InputError, match="20 x 20 pixels, expected 64 x 48"):
        dataset[odd]


def test_the_script_writes_the_layout_of_iharmony4(photos, tmp_path):
    script = runpy.run_path(str(SCRIPTS / "synthesize.py"))
    made = Synthetic(str(photos), count=8)
    assert script["write"](made, tmp_path / "set") == 8
    read = IHarmony4(str(tmp_path / "set"))
    for index in range(8):
        assert read.name(index) == made.name(index)
        for part in ("image", "mask", "real"):
            assert torch.equal(getattr(read[index], part), getattr(made[index], part))
    rows = [json.loads(line) for line in (tmp_path / "set" / "words.jsonl").read_text().splitlines()]
    assert [tuple(row["foreground"]) for row in rows] == [made.description(i).foreground for i in range(8)]
    with pytest.raises(InputError, match="holds triples already"):
        script["write"](made, tmp_path / "set")
