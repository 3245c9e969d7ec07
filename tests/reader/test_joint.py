"""What the joint reader gathers, and what it makes of it."""

import numpy as np
import pytest
import torch

from diffharmon.condition.reader import evidence
from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.reading import WEIGHTS, LightReader, shipped_networks
from diffharmon.condition.reader.trunk import DEPTH_CHANNELS, DeepTrunk
from diffharmon.types import Composite

SIDE = evidence.SIDE
KINDS = ("trunk", "scene", "close", "moved", "words", "change", "harmony", "verdict")


@pytest.fixture(scope="module")
def networks() -> evidence.Networks:
    return shipped_networks()


@pytest.fixture(scope="module")
def deep() -> DeepTrunk:
    torch.manual_seed(0)
    return DeepTrunk().eval()


def scene(lighter: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A textured scene whose disc is lighter by a share of what is left to white."""
    rows, columns = torch.meshgrid(torch.linspace(0, 9, SIDE), torch.linspace(0, 9, SIDE), indexing="ij")
    image = 0.45 + 0.12 * torch.stack([rows.sin(), (rows + columns).cos(), columns.sin()])
    mask = ((rows - 4) ** 2 + (columns - 5) ** 2 < 2).float()
    return image + lighter * mask * (1 - image), mask


def kinds(found: evidence.Evidence, networks: evidence.Networks) -> dict[str, torch.Tensor]:
    return dict(zip(KINDS, found.values.split(networks.widths, 1), strict=True))


def test_several_at_once_are_seen_as_each_alone(networks, deep):
    images, masks = zip(scene(), scene(0.3), strict=True)
    together = evidence.gather(torch.stack(images), torch.stack(masks), networks, deep)
    alone = [evidence.gather(one[None], mask[None], networks, deep) for one, mask in zip(images, masks, strict=True)]
    torch.testing.assert_close(together.measured, torch.cat([one.measured for one in alone]))
    torch.testing.assert_close(together.values, torch.cat([one.values for one in alone]), atol=2e-4, rtol=1e-3)


def test_the_moved_foreground_looks_much_the_same_however_it_was_altered(networks, deep):
    images, masks = zip(scene(), scene(0.3), strict=True)
    found = kinds(evidence.gather(torch.stack(images), torch.stack(masks), networks, deep), networks)

    def foreground(name: str) -> torch.Tensor:
        return found[name][:, :40]  # of the first depth

    apart = {name: (foreground(name)[0] - foreground(name)[1]).norm() for name in ("close", "moved")}
    assert apart["moved"] < 0.2 * apart["close"]


def test_the_view_of_the_foreground_does_not_see_what_is_far_away(networks, deep):
    image, mask = scene()
    other = image.clone()
    other[:, :, :20] = 0.0
    found = kinds(evidence.gather(torch.stack([image, other]), torch.stack([mask, mask]), networks, deep), networks)
    assert torch.equal(*found["close"])
    assert not torch.equal(*found["scene"])
    assert found["scene"].shape[1] == 3 * DEPTH_CHANNELS


def test_its_networks_are_those_that_were_shipped_with_it(networks):
    assert JointNetwork.from_pretrained(WEIGHTS).widths == networks.widths


@pytest.mark.parametrize("rows", [1, 190])
def test_a_side_that_is_thinner_than_a_cell_of_the_smaller_picture_is_read(rows):
    image, _ = scene()
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[1 : 1 + rows] = 1
    given = Composite("thin", "", image, torch.from_numpy(mask)[None])
    found = LightReader().read(given)
    assert torch.isfinite(found.change.shift).all()
    assert np.isfinite(found.logit)


def test_evidence_that_is_withheld_in_training_is_there_afterwards():
    torch.manual_seed(0)
    network = JointNetwork((504, 20, 20, 20, 20, 6, 20, 7), hidden=8)
    torch.nn.init.normal_(network.head[-1].weight)
    given = torch.rand(2, len(network.mean)), torch.rand(2, sum(network.widths))
    assert not torch.equal(network.train()(*given)[0], network(*given)[0])
    assert torch.equal(network.eval()(*given)[0], network(*given)[0])


def test_those_that_are_asked_have_a_share_in_the_change(networks):
    image, mask = scene(0.3)
    given = Composite("lighter", "", (image * 255).round() / 255, mask[None])
    network = JointNetwork.from_pretrained(WEIGHTS)
    with torch.no_grad():
        found = evidence.gather(given.image[None], mask[None], networks, network.deep)
        joint = network(found.measured, found.values)[0][0]
    read = LightReader().read(given).change
    own, words = found.opinions[:, 0]
    torch.testing.assert_close(read.shift, (0.8 * joint + 0.1 * own + 0.1 * words)[:3], atol=0.02, rtol=1e-2)
    assert not torch.allclose(joint, own, atol=0.5)
    assert torch.equal(words, found.values.split(networks.widths, 1)[KINDS.index("change")][0])
