from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from diffharmon.condition.harmony_network import SHIFTS, HarmonyNetwork
from diffharmon.training.harmony_classifier import adopt_tower


@pytest.fixture(scope="module")
def network() -> HarmonyNetwork:
    torch.manual_seed(0)
    return HarmonyNetwork(size=32, width=16, layers=1, hidden=8).eval()


def composite(side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, side, side, generator=generator)
    mask = torch.zeros(2, 1, side, side)
    mask[:, :, side // 4 : side // 2, side // 4 : 3 * side // 4] = 1
    return image, mask


@pytest.mark.parametrize("side", [8, 32, 75])
def test_any_size_gives_one_logit_an_image(network: HarmonyNetwork, side: int) -> None:
    image, mask = composite(side)
    assert network(image, mask).shape == (2,)
    assert network.judge(image, mask).shape == (2, 1 + SHIFTS)


def test_saved_weights_judge_alike(network: HarmonyNetwork, tmp_path: Path) -> None:
    network.save_pretrained(tmp_path)
    loaded = HarmonyNetwork.from_pretrained(tmp_path, strict=True).eval()
    assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}
    assert torch.equal(loaded(*composite()), network(*composite()))


def test_both_regions_and_the_mask_count(network: HarmonyNetwork) -> None:
    image, mask = composite()
    plain = network(image, mask)
    assert not torch.allclose(network(image * (1 - 0.5 * mask), mask), plain)
    assert not torch.allclose(network(image * (0.5 + 0.5 * mask), mask), plain)
    assert not torch.allclose(network(image, mask.roll(12, -1)), plain)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_or_full_mask_gives_a_finite_answer(network: HarmonyNetwork, value: float) -> None:
    image, mask = composite()
    assert network(image, torch.full_like(mask, value)).isfinite().all()


def test_a_shift_across_the_cut_is_evidence(network: HarmonyNetwork) -> None:
    _, mask = composite(32)
    grey = torch.full((2, 3, 32, 32), 0.4)
    even, stepped = (network.evidence(image, mask) for image in (grey, grey + 0.3 * mask))
    contours = slice(-2 * (8 * 17 + 1), None)
    mean_step = contours.start + 8 * 15  # after the two histograms of the first window
    assert torch.allclose(even[:, mean_step : mean_step + 4], torch.zeros(2, 4), atol=1e-3)
    assert (stepped[:, mean_step : mean_step + 4] > 0.2).all()


def test_the_gradient_reaches_the_image(network: HarmonyNetwork) -> None:
    image, mask = composite()
    image.requires_grad_()
    network(image, mask).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_a_tower_of_another_shape_is_refused(network: HarmonyNetwork) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**sizes, "vocab_size": 20},
        vision_config={**sizes, "image_size": 16, "patch_size": 8},
        projection_dim=4,
    )
    with pytest.raises(ValueError, match="does not fit"):
        adopt_tower(network, CLIPModel(config))
