"""Programs and exported networks as methods; the programs are small Python scripts."""

import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from diffharmon import images
from diffharmon.errors import ConfigError, ModelError
from diffharmon.method.external import External
from diffharmon.protocols import Method
from diffharmon.types import Composite, ignore

PROGRAM = """
import sys
from PIL import Image, ImageChops
image, mask, output = (argument.split("=")[-1] for argument in sys.argv[1:4])
assert Image.open(mask).size == Image.open(image).size and Image.open(mask).mode == "L"
{body}
"""


class Halve(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * (1 - 0.5 * mask) + 0.1 * mask


@pytest.fixture
def composite() -> Composite:
    image = torch.rand(3, 24, 40, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 24, 40)
    mask[:, 6:18, 10:30] = 1
    return Composite("noise", "test", image, mask)


def command(folder: Path, body: str) -> list[str]:
    program = folder / "program with space.py"
    program.write_text(PROGRAM.format(body=body))
    return [sys.executable, str(program), "--image={image}", "{mask}", "{output}"]


def exported(folder: Path, size: tuple[int, int], network: nn.Module | None = None) -> str:
    path = folder / "network.pt2"
    sample = torch.rand(1, 3, *size), torch.ones(1, 1, *size)
    torch.export.save(torch.export.export(network or Halve(), sample), path)
    return str(path)


def check(composite: Composite, image: torch.Tensor) -> None:
    inside = composite.mask.expand(3, -1, -1) > 0
    assert torch.equal(image[~inside], composite.image[~inside])
    assert not torch.equal(image[inside], composite.image[inside])


def test_program_gets_files_and_its_foreground_is_taken(composite, tmp_path):
    method = External(command(tmp_path, "ImageChops.invert(Image.open(image)).save(output)"))
    assert isinstance(method, Method)
    result = method.harmonize(composite, ignore)
    check(composite, result.best.image)
    inside = composite.mask.expand(3, -1, -1) > 0
    expected = 1 - images.from_uint8(images.to_uint8(composite.image))
    torch.testing.assert_close(result.best.image[inside], expected[inside])
    assert result.costs["external"].seconds > 0
    assert result.reason == "not scored"


def test_program_at_another_size(composite, tmp_path):
    body = "assert Image.open(image).size == (16, 16); ImageChops.invert(Image.open(image)).save(output)"
    result = External(command(tmp_path, body), size=16).harmonize(composite, ignore)
    assert result.best.image.shape == composite.image.shape
    check(composite, result.best.image)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit('bad weather')", "code 1.*bad weather"),
        ("pass", "left no image"),
        ("open(output, 'w').write('no image')", "left no image"),
        ("Image.open(image).resize((12, 12)).save(output)", r"12 x 12.*40 x 24"),
    ],
)
def test_programs_that_fail_say_how(composite, tmp_path, body, message):
    with pytest.raises(ModelError, match=message):
        External(command(tmp_path, body)).harmonize(composite, ignore)


def test_a_program_that_hangs_is_killed_with_its_children(composite, tmp_path):
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(tmp_path / 'alive')!r}).touch()"
    body = f"import subprocess, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(30)"
    start = time.perf_counter()
    with pytest.raises(ModelError, match=r"longer than 0.7 s"):
        External(command(tmp_path, body), timeout=0.7).harmonize(composite, ignore)
    assert time.perf_counter() - start < 5
    time.sleep(2.5)
    assert not (tmp_path / "alive").exists()


def test_exported_network(composite, tmp_path):
    result = External(model=exported(tmp_path, (24, 40)), allow_code=True).harmonize(composite, ignore)
    check(composite, result.best.image)
    inside = composite.mask.expand(3, -1, -1) > 0
    torch.testing.assert_close(result.best.image[inside], composite.image[inside] * 0.5 + 0.1)


def test_exported_network_at_its_own_size(composite, tmp_path):
    path = exported(tmp_path, (32, 32))
    check(composite, External(model=path, size=32, allow_code=True).harmonize(composite, ignore).best.image)
    with pytest.raises(ModelError, match=r"method\.size"):
        External(model=path, allow_code=True).harmonize(composite, ignore)


def test_onnx_network(composite, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is an optional extra")
    onnx = pytest.importorskip("onnx", reason="onnx is needed to write the file")
    shape = [1, 3, 24, 40]
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 24, 40])
        for name, channels in (("image", 3), ("mask", 1))
    ]
    output = onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, shape)
    node = onnx.helper.make_node("Sub", ["mask", "image"], ["output"])
    graph = onnx.helper.make_graph([node], "invert", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "invert.onnx")
    result = External(model=str(tmp_path / "invert.onnx")).harmonize(composite, ignore)
    inside = composite.mask.expand(3, -1, -1) > 0
    torch.testing.assert_close(result.best.image[inside], 1 - composite.image[inside])
    with pytest.raises(ModelError, match=r"method\.size"):
        External(model=str(tmp_path / "invert.onnx"), size=16).harmonize(composite, ignore)
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    with pytest.raises(ModelError, match="broken"):
        External(model=str(tmp_path / "broken.onnx"))


def test_onnx_without_its_runtime_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "network.onnx").touch()
    with pytest.raises(ModelError, match="pip install onnxruntime"):
        External(model=str(tmp_path / "network.onnx"))


class Two(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image * 1, mask * 1


class NotFinite(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image / (image * 0) + mask


class Grey(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image[:, :1] * mask


@pytest.mark.parametrize(("network", "message"), [(Two(), "tuple"), (NotFinite(), "not finite"), (Grey(), "1, 1, 24")])
def test_networks_that_return_no_image_are_refused(composite, tmp_path, network, message):
    with pytest.raises(ModelError, match=message):
        External(model=exported(tmp_path, (24, 40), network), allow_code=True).harmonize(composite, ignore)


def test_a_file_that_can_run_code_is_refused_unless_allowed(tmp_path):
    with pytest.raises(ConfigError, match=r"method\.allow_code=true"):
        External(model=exported(tmp_path, (24, 40)))


def test_bad_settings_are_refused(tmp_path):
    good = command(tmp_path, "pass")
    for settings, message in [
        ({}, "neither is given"),
        ({"command": good, "model": "x.pt2"}, "both are given"),
        ({"command": good[:-1]}, r"lacks \{output\}"),
        ({"command": []}, "expected a list"),
        ({"command": good, "size": 3}, "size"),
    ]:
        with pytest.raises(ConfigError, match=message):
            External(**settings)
    (tmp_path / "broken.pt2").write_text("no archive")
    for settings, message in [
        ({"command": ["no-such-program", *good[1:]]}, "no program 'no-such-program'"),
        ({"model": str(tmp_path / "absent.pt2")}, "no file"),
        ({"model": str(tmp_path / "broken.pt2"), "allow_code": True}, "no torch.export file"),
        ({"model": str(tmp_path / "network.pth")}, "ends in .pt2"),
    ]:
        with pytest.raises(ModelError, match=message):
            External(**settings)
