"""Evidence gathered ahead for the joint reader's recipe."""

from pathlib import Path

import pytest
import torch

from diffharmon.condition.reader.reading import WEIGHTS, LightReader, shipped_networks, shipped_trunk
from diffharmon.training.datamodule import Sampling
from diffharmon.training.evidence import EvidenceData, evidence_of
from diffharmon.training.light_reading import unpaired
from diffharmon.types import Composite

SIZE = 64


@pytest.fixture
def data(photo_root: Path, tmp_path: Path) -> EvidenceData:
    """Two shards of two pairs."""
    sampling = Sampling(str(photo_root), SIZE, batch_size=4, epoch_steps=2, validation_count=2)
    return EvidenceData(sampling, {"quantile": 1.0}, str(tmp_path / "evidence"), shards=2, shard_size=2, words=0.0)


def test_shards_hold_other_pairs_and_are_made_once(data: EvidenceData) -> None:
    data.prepare_data()
    paths = sorted(data.cache.glob("*.pt"))
    assert [path.name for path in paths] == ["0000.pt", "0001.pt"]
    first, second = (torch.load(path, weights_only=True)["before"] for path in paths)
    assert not any(torch.equal(one, other) for one in first for other in second)
    made = [path.stat().st_mtime_ns for path in paths]
    data.prepare_data()
    assert [path.stat().st_mtime_ns for path in paths] == made
    batches = list(data.train_dataloader())
    assert [len(batch["measured"]) for batch in batches] == [4, 4]
    assert all(torch.equal(*pair) for pair in zip(*(_rows(data) for _ in range(2)), strict=True))


def _rows(data: EvidenceData) -> list[torch.Tensor]:
    return [batch["before"] for batch in data.train_dataloader()]


def test_evidence_is_of_composite_and_photo_in_turn(data: EvidenceData) -> None:
    pair = data.draw(validation=False)(torch.Generator().manual_seed(3))
    found = evidence_of(pair, shipped_networks(), shipped_trunk())
    both = unpaired({name: values[None].float() for name, values in found.items()})
    assert both["altered"].tolist() == [1.0, 0.0]
    levels = [(image * 255).round() / 255 for image in pair["image"]]
    for row, image in enumerate(levels):
        assert both["measured"][row, 0] * 25 == pytest.approx(_lightness(image, pair["parts"][0]), abs=4)
    assert not torch.equal(both["measured"][0], both["measured"][1])


def _lightness(image: torch.Tensor, inside: torch.Tensor) -> float:
    composite = Composite("one", "", image, inside[None])
    return LightReader(WEIGHTS).read(composite).change.centre[0].item()
