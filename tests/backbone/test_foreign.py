"""Checkpoints that others made, as the backbone loads them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.errors import ModelError


@pytest.fixture
def copied(pipeline_folder, tmp_path):
    """A copy of the toy model, and what changes one of its configurations."""
    folder = tmp_path / "model"
    shutil.copytree(pipeline_folder, folder)

    def change(file, **values):
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        return str(folder)

    return change


def test_eulers_spacing_is_adapted(copied):
    scheduler = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "linspace", "sigma_max": 3}
    model = StableDiffusion(copied("scheduler/scheduler_config.json", **scheduler), size=64)
    assert model.noise_schedule["timestep_spacing"] == "leading"


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("unet/config.json", {"in_channels": 9}, "an inpainting model"),
        ("unet/config.json", {"cross_attention_dim": 24}, "width 24 and the text encoder gives 16"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "zero signal"),
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow-matching"),
    ],
)
def test_models_of_another_kind_are_refused_in_one_line(copied, file, values, message):
    with pytest.raises(ModelError, match=message):
        StableDiffusion(copied(file, **values), size=64)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_single_file_that_is_no_model_is_refused_in_one_line(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match=r"single file|pickle") as raised:
        StableDiffusion(str(path), size=64)
    assert len(str(raised.value).splitlines()) == 1


def test_an_overflow_in_half_precision_is_an_error_that_names_what_helps(copied, tmp_path, composite, call_command):
    from diffharmon import images, results

    path = copied("model_index.json")
    weights = tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    state["conv_in.weight"] = state["conv_in.weight"] * 3e6
    save_file(state, weights, metadata={"format": "pt"})
    for name in ("image", "mask"):
        images.write_image(tmp_path / f"{name}.png", getattr(composite, name))
    done = call_command(
        tmp_path / "run",
        *("dataset=single", f"dataset.image={tmp_path / 'image.png'}", f"dataset.mask={tmp_path / 'mask.png'}"),
        *("describer=fixed", "describer.object=cat", "describer.foreground=dim", "describer.background=bright"),
        *("evaluator=none", f"backbone.path={path}", "backbone.size=64", "backbone.dtype=float16", "sampler.steps=3"),
        *("metrics=[full]", "trainer=cpu"),
    )
    assert done.returncode == 2
    assert "float16 overflows" in done.stderr
    assert "backbone.dtype=bfloat16" in done.stderr
    (row,) = results.read_rows(tmp_path / "run")
    assert (row["status"], row["stage"]) == ("error", "inversion")
    assert not list((tmp_path / "run").glob("images/*/harmonized.*"))
