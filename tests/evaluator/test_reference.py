"""The public code's evaluator on random weights of the published names and shapes, against transformers' ResNet-50."""

import cv2
import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from diffharmon.errors import ModelError
from diffharmon.evaluator.reference import Reference
from diffharmon.evaluator.reference_network import LAYERS, ReferenceNetwork
from diffharmon.protocols import Evaluator
from diffharmon.types import Description

WORDS = Description("cat", ("dim",), ("bright",))


def published_names():
    """Names and shapes of the published file: torchvision's ResNet-50 from its first batch norm on, numbered."""
    norm = {"weight": (0,), "bias": (0,), "running_mean": (0,), "running_var": (0,), "num_batches_tracked": ()}

    def normalized(prefix, channels):
        return {f"{prefix}.{name}": (channels,) if shape else () for name, shape in norm.items()}

    names = {"inp_encoder.weight": (64, 4, 7, 7), **normalized("encoder.0", 64)}
    inputs = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(depth):
            prefix = f"encoder.{stage + 3}.{block}"
            shapes = {1: (width, inputs, 1, 1), 2: (width, width, 3, 3), 3: (4 * width, width, 1, 1)}
            for number, shape in shapes.items():
                names[f"{prefix}.conv{number}.weight"] = shape
                names |= normalized(f"{prefix}.bn{number}", shape[0])
            if block == 0:
                names[f"{prefix}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                names |= normalized(f"{prefix}.downsample.1", 4 * width)
            inputs = 4 * width
    return names | {"classify_fc.weight": (2, 2048), "classify_fc.bias": (2,)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in published_names().items():
        if not shape:
            state[name] = torch.tensor(0)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            state[name] = torch.randn(shape, generator=generator) * 0.05
    path = tmp_path_factory.mktemp("reference") / "bestModel.pth"
    torch.save(state, path)
    return path


def test_the_parameters_are_those_of_the_published_file():
    names = {name: tuple(value.shape) for name, value in ReferenceNetwork().state_dict().items()}
    assert names == published_names()


def as_transformers(state):
    """Rename a state dict to that of transformers' ResNet."""
    renamed = {"embedder.embedder.convolution.weight": state["inp_encoder.weight"]}
    parts = {"conv1": "layer.0.convolution", "bn1": "layer.0.normalization", "conv2": "layer.1.convolution"}
    parts |= {"bn2": "layer.1.normalization", "conv3": "layer.2.convolution", "bn3": "layer.2.normalization"}
    for name, value in state.items():
        pieces = name.split(".")
        if pieces[:2] == ["encoder", "0"]:
            renamed[f"embedder.embedder.normalization.{pieces[2]}"] = value
        elif pieces[0] == "encoder":
            stage, block, rest = int(pieces[1]) - 3, pieces[2], pieces[3:]
            if rest[0] == "downsample":
                part = f"shortcut.{('convolution', 'normalization')[int(rest[1])]}"
            else:
                part = parts[rest[0]]
            renamed[f"encoder.stages.{stage}.layers.{block}.{part}.{rest[-1]}"] = value
    return renamed


def test_the_network_is_the_resnet_of_another_library(weights):
    state = torch.load(weights, weights_only=True)
    network = ReferenceNetwork()
    network.load_state_dict(state)
    config = ResNetConfig(num_channels=4, depths=list(LAYERS), layer_type="bottleneck", downsample_in_bottleneck=False)
    other = ResNetModel(config).eval()
    other.load_state_dict(as_transformers(state))
    images, masks = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        found = network.eval()(images, masks)
        pooled = other(torch.cat((images, masks), 1)).pooler_output.flatten(1)
        expected = torch.nn.functional.linear(pooled, state["classify_fc.weight"], state["classify_fc.bias"])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_score_is_the_probability_of_the_second_class(weights):
    evaluator = Reference(str(weights))
    assert isinstance(evaluator, Evaluator)
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (300, 200, 3), np.uint8)
    mask = np.zeros((300, 200), np.float32)
    mask[50:200, 40:120] = 1
    small = cv2.resize(image, (256, 256)).astype(np.float32) / 255
    inputs = torch.from_numpy((small - 0.5) / 0.5).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = evaluator.network(inputs, torch.from_numpy(cv2.resize(mask, (256, 256)))[None, None])
    score = evaluator.score(torch.from_numpy(image).permute(2, 0, 1).float() / 255, torch.from_numpy(mask)[None], WORDS)
    assert score.value == pytest.approx(logits.softmax(1)[0, 1].item(), rel=1e-5)
    assert 1 / (1 + np.exp(-score.terms["logit"])) == pytest.approx(score.value, rel=1e-5)


def test_what_is_no_such_file_is_named(tmp_path, weights):
    state = torch.load(weights, weights_only=True)
    cases = {"missing.pth": None, "text.pth": b"no tensors", "list.pth": [1], "other.pth": {"a": torch.zeros(1)}}
    for name, content in cases.items():
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        elif content is not None:
            torch.save(content, tmp_path / name)
        with pytest.raises(ModelError, match=f"evaluator.weights.*{name}.*bestModel.pth"):
            Reference(str(tmp_path / name))
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "parallel.pth")
    Reference(str(tmp_path / "parallel.pth"))
