"""The precision of training follows what the machine's hardware computes."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from diffharmon.training.fit import CONFIG_FOLDER


@pytest.mark.parametrize(
    ("accelerator", "capabilities", "expected"),
    [
        (False, {"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "32-true"),
        (False, {"avx2": True, "amx_bf16": True}, "bf16-mixed"),
        (True, {"avx2": True}, "bf16-mixed"),
    ],
)
def test_bfloat16_only_where_hardware_computes_it(
    accelerator: bool, capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        assert compose("train", ["recipe=backbone", "data.root=x"]).trainer.precision == expected


def test_float32_where_torch_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        assert compose("train", ["recipe=backbone", "data.root=x"]).trainer.precision == "32-true"
