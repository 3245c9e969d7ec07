"""Every recipe runs end to end at toy size, exports what loads, and resumes exactly."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from transformers import CLIPModel, CLIPProcessor

from diffharmon.condition.harmony_network import HarmonyNetwork
from diffharmon.condition.reader import statistics
from diffharmon.condition.reader.joint import JointNetwork
from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.errors import DiffharmonError
from diffharmon.training.autoencoder import build_autoencoder
from diffharmon.training.fit import CONFIG_FOLDER, fit

RECIPES = ("autoencoder", "backbone", "clip", "classifier", "reader", "joint_reader")
TOY = {
    "autoencoder": ["module.channels=[4,4,8,8]", "data.size=32", "datamodule.crop=16", "datamodule.full_size_epoch=1"],
    "backbone": [
        "module.channels=[8,16]",
        "module.width=16",
        "module.layers=1",
        "module.edit_steps=2",
        "data.size=64",
        "trainer.gradient_clip_val=1.0",
    ],
    "clip": ["data.size=32", "module.width=16", "module.layers=1"],
    "reader": ["module.pretrained=false", "module.hidden=16", "data.size=32"],
    "joint_reader": ["datamodule.shard_size=4", "module.hidden=16", "data.size=64", "data.batch_size=2"],
    "classifier": ["module.vision=null", "module.width=16", "module.layers=1", "data.size=32"],
}


@pytest.fixture(scope="module")
def toy_autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "vae"
    torch.manual_seed(0)
    build_autoencoder((4, 4, 8, 8), 4, 64).save_pretrained(folder)
    return folder


def recipe(name: str, root: Path, output: Path, autoencoder: Path, *overrides: str) -> DictConfig:
    values = [f"recipe={name}", "trainer=smoke", f"data.root={root}", f"output={output}", *TOY[name], *overrides]
    if name == "backbone":
        values += [f"autoencoder={autoencoder}", f"tokenizer={output / 'tokenizer'}"]
    if name == "clip":
        values += [f"tokenizer={output / 'tokenizer'}"]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return compose("train", values)


@pytest.fixture(scope="module")
def trained(
    photo_root: Path, tmp_path_factory: pytest.TempPathFactory, toy_autoencoder: Path
) -> Callable[[str], tuple[Path, Path]]:
    """Train by a recipe once for all tests; gives the run's folder and the exported model."""

    @cache
    def train(name: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp(name)
        return folder, fit(recipe(name, photo_root, folder, toy_autoencoder))

    return train


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_and_exports(name: str, trained: Callable[[str], tuple[Path, Path]]) -> None:
    folder, exported = trained(name)
    assert list((folder / "samples").glob("step_*.png"))
    rows = (folder / "curves" / "version_0" / "metrics.csv").read_text().splitlines()
    assert "val/" in rows[0]
    assert len(rows) > 4
    image = torch.rand(1, 3, 64, 64)
    if name == "autoencoder":
        model = AutoencoderKL.from_pretrained(exported, use_safetensors=True)
        assert model(image).sample.shape == image.shape
        assert model.config.scaling_factor == 1.0
    elif name == "backbone":
        pipeline = StableDiffusionPipeline.from_pretrained(exported, use_safetensors=True, local_files_only=True)
        assert pipeline.unet.dtype == pipeline.text_encoder.dtype == torch.float32
        made = pipeline("car dim", num_inference_steps=2, guidance_scale=1.0, output_type="pt").images
        assert made.shape == (1, 3, 128, 128)
    elif name == "clip":
        model, processor = CLIPModel.from_pretrained(exported), CLIPProcessor.from_pretrained(exported)
        inputs = processor(text=["car dim", "overcast"], images=image[0], return_tensors="pt", padding=True)
        assert model(**inputs).logits_per_image.shape == (1, 2)
    elif name == "reader":
        parts = torch.ones(1, 5, 32, 32)
        change, deviation, logit = ReaderNetwork.from_pretrained(exported)(
            image[:, :, :32, :32], parts, torch.rand(1, statistics.COUNT)
        )
        assert (change.shape, deviation.shape, logit.shape) == ((1, 6), (1, 6), (1,))
    elif name == "joint_reader":
        network = JointNetwork.from_pretrained(exported)
        assert next(network.parameters()).dtype == torch.float32
        change, _, logit = network(torch.rand(1, statistics.COUNT), torch.rand(1, sum(network.widths)))
        assert (change.shape, logit.shape) == ((1, 6), (1,))
    else:
        network = HarmonyNetwork.from_pretrained(exported).eval()
        assert network(image, image[:, :1]).shape == (1,)


@pytest.mark.parametrize("name", RECIPES)
def test_an_exported_model_is_measured_without_training(
    name: str, photo_root: Path, trained: Callable[[str], tuple[Path, Path]], toy_autoencoder: Path
) -> None:
    folder, exported = trained(name)
    before = {path.name: path.read_bytes() for path in exported.rglob("*.safetensors")}
    overrides = [f"measure={exported}", "trainer.precision=32-true"]
    config = recipe(name, photo_root, folder, toy_autoencoder, *overrides)
    fit(config)
    values = json.loads((folder / "measured.json").read_text())
    assert values
    assert all(key.startswith("val/") for key in values)
    assert before == {path.name: path.read_bytes() for path in exported.rglob("*.safetensors")}


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True, map_location="cpu")
    return checkpoint["state_dict"]


@pytest.mark.parametrize("name", ["backbone", "classifier", "reader"])
def test_a_resumed_run_equals_an_unbroken_one(
    name: str, photo_root: Path, tmp_path: Path, toy_autoencoder: Path
) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    # Latents are encoded in bfloat16, whose last bit may differ from one encoding to the next.
    shared = [f"datamodule.cache={tmp_path / 'latents'}"] if name == "backbone" else []
    fit(recipe(name, photo_root, unbroken, toy_autoencoder, *shared))
    fit(recipe(name, photo_root, broken, toy_autoencoder, *shared, "epochs=1", "trainer.max_epochs=1"))
    halfway = final_weights(broken)
    fit(recipe(name, photo_root, broken, toy_autoencoder, *shared))
    expected, resumed = final_weights(unbroken), final_weights(broken)
    assert expected.keys() == resumed.keys()
    assert any(not torch.equal(halfway[key], expected[key]) for key in expected)
    for key in expected:
        assert torch.equal(expected[key], resumed[key]), key


def test_a_mistyped_key_is_refused_by_name(photo_root: Path, tmp_path: Path, toy_autoencoder: Path) -> None:
    config = recipe("classifier", photo_root, tmp_path, toy_autoencoder)
    OmegaConf.set_struct(config, False)
    config.module.smothing = 0.1
    with pytest.raises(DiffharmonError, match=r"module\.smothing"):
        fit(config)


def test_a_new_run_may_start_from_an_exported_model(
    photo_root: Path, tmp_path: Path, trained: Callable[[str], tuple[Path, Path]], toy_autoencoder: Path
) -> None:
    _, exported = trained("autoencoder")
    further = recipe(
        "autoencoder",
        photo_root,
        tmp_path / "second",
        toy_autoencoder,
        f"start={exported}",
        "module.learning_rate=1e-9",
    )
    begun = AutoencoderKL.from_pretrained(exported, use_safetensors=True).state_dict()
    ended = AutoencoderKL.from_pretrained(fit(further), use_safetensors=True).state_dict()
    same = [key for key in begun if key.startswith("encoder") and key.endswith("weight")]
    assert same
    for key in same:
        torch.testing.assert_close(ended[key], begun[key], rtol=0, atol=1e-4)
