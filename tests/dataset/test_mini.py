import hashlib
import json
from pathlib import Path

import pytest
import torch

from diffharmon.condition.vocabulary import list_of
from diffharmon.config import build, composed
from diffharmon.dataset.mini import FOLDER, TABLE, Mini
from diffharmon.describer.file import File
from diffharmon.images import to_uint8
from diffharmon.metrics import fpsnr
from diffharmon.protocols import Dataset

CHECKSUM = "f7b44d642b4eb03bf5660e6e985a066b2024e590fb80bd920e2c0a50485b3303"


@pytest.fixture(scope="module")
def composites():
    dataset = Mini()
    return [dataset[index] for index in range(len(dataset))]


def test_it_is_the_same_everywhere(composites):
    digest = hashlib.sha256()
    for composite in composites:
        digest.update(composite.name.encode())
        for part in (composite.image, composite.mask, composite.real):
            digest.update(to_uint8(part).numpy().tobytes())
    assert digest.hexdigest() == CHECKSUM


def test_triples(composites):
    assert isinstance(Mini(), Dataset)
    assert len({composite.name for composite in composites}) == 32
    assert len({composite.name.split("_")[0] for composite in composites}) == 7
    for composite in composites:
        inside = composite.mask[0] > 0
        assert 0.02 < inside.float().mean() < 0.8
        assert torch.equal(composite.image[:, ~inside], composite.real[:, ~inside])
        assert 12 < fpsnr(composite.image, composite.real, composite.mask) < 27


def test_words_are_the_vocabularys_and_only_told_by_file(composites):
    dataset, describer = Mini(), File(str(TABLE))
    for index, composite in enumerate(composites):
        true, said = dataset.description(index), describer.describe(composite)
        assert (said.object, said.foreground, said.background) == (true.object, true.foreground, ("daylight",))
        assert all(list_of(word) for word in true.foreground)
        assert not any(word in composite.name for word in true.foreground)
        assert not hasattr(composite, "description")


def test_a_limit_takes_from_all_photos():
    few = Mini(limit=8, seed=1)
    assert len({few.name(index).split("_")[0] for index in range(len(few))}) == 7
    assert {few.name(i) for i in range(8)} < {row["name"] for row in map(json.loads, TABLE.read_text().splitlines())}


def test_configuration():
    config = composed(
        ["dataset=mini", "dataset.limit=3", "describer=file", "describer.path=${asset:mini/triples.jsonl}"]
    )
    dataset = build(config.dataset)
    assert len(dataset) == 3
    assert build(config.describer).describe(dataset[0]).foreground == dataset.description(0).foreground


def test_masks_are_small_files():
    sizes = {path.name: path.stat().st_size for path in Path(FOLDER).glob("*.png")}
    assert len(sizes) == 8
    assert max(sizes.values()) < 20_000
