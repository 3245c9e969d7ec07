"""A model in one file with the key layout of the original Stable Diffusion code, as model sites offer it."""

import re
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel

from diffharmon.backbone import single_file
from diffharmon.backbone.single_file import diffusers_folder
from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.errors import ModelError

LAYERS = 1  # a block's residual layers in the toy model
UNET_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET_OUTER = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
VAE_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "group_norm": "norm"}


def unet_place(block):
    """Name a UNet block as the original code numbers it: inputs and outputs through all resolutions."""
    if block in UNET_OUTER:
        return UNET_OUTER[block]
    side, number, kind, place = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)", block).groups()
    number, place = int(number), int(place)
    if kind == "downsamplers":
        return f"input_blocks.{(number + 1) * (LAYERS + 1)}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{number * (LAYERS + 1) + LAYERS}.2.conv"
    part = "0" if kind == "resnets" else "1"
    if side == "down":
        return f"input_blocks.{1 + number * (LAYERS + 1) + place}.{part}"
    return f"output_blocks.{number * (LAYERS + 1) + place}.{part}"


def unet_name(name):
    found = re.match(r"((?:down|up)_blocks\.\d+|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\.\d+", name)
    block = found[0] if found else next(outer for outer in UNET_OUTER if name.startswith(f"{outer}."))
    rest = name.removeprefix(f"{block}.").removeprefix("conv." if "samplers" in block else "")
    if "resnets" in block:
        part, _, parameter = rest.partition(".")
        rest = f"{UNET_RESNET[part]}.{parameter}"
    return f"{unet_place(block)}.{rest}"


def vae_name(name, blocks):
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
    name = re.sub(r"up_blocks\.(\d)", lambda found: f"up.{blocks - 1 - int(found[1])}", name)
    name = name.replace("down_blocks.", "down.").replace("mid_block.attentions.0", "mid.attn_1")
    name = name.replace("resnets.", "block.").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
    name = name.replace("conv_norm_out", "norm_out")
    if "attn_1" in name:
        for here, there in VAE_ATTENTION.items():
            name = name.replace(f"attn_1.{here}.", f"attn_1.{there}.")
    return name


@pytest.fixture(scope="module")
def original(pipeline_folder, tmp_path_factory):
    """The toy model's weights in one file, under the names of the original code."""
    unet = UNet2DConditionModel.from_pretrained(pipeline_folder, subfolder="unet")
    vae = AutoencoderKL.from_pretrained(pipeline_folder, subfolder="vae")
    text = CLIPTextModel.from_pretrained(pipeline_folder, subfolder="text_encoder")
    state = {f"model.diffusion_model.{unet_name(name)}": value for name, value in unet.state_dict().items()}
    for name, value in vae.state_dict().items():
        there = vae_name(name, len(vae.config.block_out_channels))
        convolution = "attn_1" in there and value.ndim == 2
        state[f"first_stage_model.{there}"] = value[..., None, None] if convolution else value
    state |= {
        f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": value
        for name, value in text.state_dict().items()
    }
    path = tmp_path_factory.mktemp("single") / "model.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(single_file, "HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_single_file_gives_the_same_model_as_its_folder(original, pipeline_folder, cache):
    expected = StableDiffusion(str(pipeline_folder), size=64)
    model = StableDiffusion(str(original), size=64, config=str(pipeline_folder))
    for name in ("network", "vae", "text_encoder"):
        wanted, found = (getattr(backbone, name).state_dict() for backbone in (expected, model))
        assert wanted.keys() == found.keys()
        assert all(torch.equal(value, found[key]) for key, value in wanted.items()), name
    assert model.noise_schedule["beta_end"] == expected.noise_schedule["beta_end"]
    assert torch.equal(model.embed(["cat bright"]).tokens, expected.embed(["cat bright"]).tokens)
    (folder,) = (cache / "diffharmon").iterdir()
    assert not list(folder.rglob("*.bin"))


def test_a_single_file_is_converted_once_for_each_content(original, pipeline_folder, cache, tmp_path, monkeypatch):
    copy = tmp_path / "copy.safetensors"
    shutil.copy(original, copy)
    first = diffusers_folder(str(original), str(pipeline_folder))
    monkeypatch.setattr(single_file, "read_single_file", None)
    assert diffusers_folder(str(copy), str(pipeline_folder)) == first


def test_without_a_configuration_and_a_hub_the_error_names_the_setting(original, cache):
    with pytest.raises(ModelError, match=r"backbone\.config=FOLDER"):
        StableDiffusion(str(original), size=64)
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize("path", ["", "/no/such/folder", "./model", "~/no/such", "a/b/c", "back\\slash"])
def test_a_place_that_does_not_exist_is_not_looked_up_on_the_hub(path):
    with pytest.raises(ModelError, match="does not exist; expected a folder in diffusers'"):
        diffusers_folder(path)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="is a file of another kind"):
        diffusers_folder(str(tmp_path / "model.bin"))
