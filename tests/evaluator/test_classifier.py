"""The harmony classifier as an evaluator, on a random network and, where it exists, on the embedded one."""

import pytest
import skimage
import torch

from diffharmon.condition.harmony_network import HarmonyNetwork
from diffharmon.errors import ModelError
from diffharmon.evaluator.classifier import Classifier
from diffharmon.evaluator.none import NoEvaluator
from diffharmon.protocols import Evaluator
from diffharmon.types import Description

WORDS = Description("cat", ("bright",), ("dark",))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    HarmonyNetwork(size=32, width=16, layers=1, hidden=8).save_pretrained(tmp_path / "network")
    return tmp_path / "network"


@pytest.fixture
def photo():
    image = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1).float() / 255
    mask = torch.zeros(1, *image.shape[1:])
    mask[:, 80:220, 150:300] = 1
    return image, mask


def test_score_is_the_probability_of_the_network(folder, photo):
    image, mask = photo
    evaluator = Classifier(str(folder))
    assert isinstance(evaluator, Evaluator)
    score = evaluator.score(image, mask, WORDS)
    logit = HarmonyNetwork.from_pretrained(folder).eval()(image[None], mask[None])
    assert score.value == pytest.approx(torch.sigmoid(logit).item())
    assert 0 < score.value < 1
    assert score.terms["logit"] == pytest.approx(logit.item())


def test_score_sees_image_and_mask_and_repeats(folder, photo):
    image, mask = photo
    evaluator = Classifier(str(folder))
    score = evaluator.score(image, mask, WORDS)
    assert evaluator.score(image, mask, WORDS) == score
    assert evaluator.score(image, mask.flip(-1), WORDS) != score
    assert evaluator.score(image * (1 - mask) + mask * image.square(), mask, WORDS) != score


def test_network_is_frozen(folder):
    network = Classifier(str(folder)).network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_missing_and_damaged_weights_are_one_clear_error(folder, tmp_path):
    with pytest.raises(ModelError, match=r"there is none.*\n.*evaluator=none"):
        Classifier(str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="tried as a local folder:"):
        Classifier(str(tmp_path / "empty"))
    (folder / "model.safetensors").write_bytes(b"garbage" * 20)
    with pytest.raises(ModelError, match="header"):
        Classifier(str(folder))
    HarmonyNetwork(size=32, width=16, layers=1, hidden=16).save_pretrained(tmp_path / "other")
    (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="size mismatch"):
        Classifier(str(folder))


def test_embedded_network_prefers_the_real_photo(photo):
    image, mask = photo
    blue = torch.tensor([0.35, 0.6, 1.0]).view(3, 1, 1)
    graded = image * (1 - mask) + mask * image * blue
    evaluator = Classifier()
    assert evaluator.score(image, mask, WORDS).value > evaluator.score(graded, mask, WORDS).value


def test_unjudged_gives_every_image_the_same(photo):
    image, mask = photo
    assert isinstance(NoEvaluator(), Evaluator)
    assert NoEvaluator().score(image, mask, WORDS) == NoEvaluator().score(1 - image, mask, WORDS)
