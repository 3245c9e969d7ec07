"""The model that stands in for a large one while a method's calls are counted: the same class, a few channels."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffharmon.files import ASSETS
from diffharmon.types import Attempt, AttentionRule, Composite, Description

SIZE = 64  # pixels: attention on 8 x 8 to 1 x 1 cells, as Stable Diffusion has it on an eighth to a 64th of the canvas
CELL = 8
WORDS = ("bright", "sunny", "golden", "clear", "vivid", "glowing", "light", "shiny", "radiant", "brilliant")


@cache
def folder() -> tempfile.TemporaryDirectory:
    """Write the stand-in's folder, once a process; blocks and layers are those of Stable Diffusion."""
    made = tempfile.TemporaryDirectory(prefix="diffharmon-stand-in-")
    with torch.random.fork_rng(devices=[]):
        unet = UNet2DConditionModel(
            sample_size=SIZE // CELL,
            block_out_channels=(4, 4, 4, 4),
            layers_per_block=1,
            norm_num_groups=2,
            cross_attention_dim=8,
            attention_head_dim=2,
        )
        vae = AutoencoderKL(
            block_out_channels=(2, 2, 2, 2),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            norm_num_groups=2,
            latent_channels=4,
        )
        settings = CLIPTextConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, bos_token_id=0
        )
        text = CLIPTextModel(settings)
    pipeline: Any = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=CLIPTokenizer.from_pretrained(ASSETS / "tiny" / "tokenizer"),
        unet=unet,
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(made.name)
    return made


def path() -> Path:
    """Return the stand-in's folder in diffusers' layout."""
    return Path(folder().name)


@contextmanager
def shortcuts(backbone: Any) -> Iterator[None]:
    """Let the stand-in's network and decoder answer at once inside the ``with``, but where attention is recorded.

    Their answers have the right shapes and gradients; only who calls what how often is of interest.
    """
    network, decoder, attention = backbone.network, backbone.vae.decoder, backbone.attention
    whole = network.forward
    recording = False

    @contextmanager
    def control(rules: Sequence[AttentionRule], *others: Any, **more: Any) -> Iterator[Any]:
        nonlocal recording
        with attention(rules, *others, **more) as store:
            recording = any(rule.action == "record" for rule in rules)
            try:
                yield store
            finally:
                recording = False

    def predict(sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **other: Any) -> Any:
        if recording:
            return whole(sample, timestep, encoder_hidden_states=encoder_hidden_states, **other)
        output = 0.1 * sample + encoder_hidden_states.mean()
        return type("Output", (), {"sample": output})() if other.get("return_dict", True) else (output,)

    def decode(sample: Tensor, *other: Any, **more: Any) -> Tensor:
        return functional.interpolate(sample[:, :3], scale_factor=CELL)

    network.forward, decoder.forward, backbone.attention = predict, decode, control
    try:
        yield
    finally:
        del network.forward, decoder.forward, backbone.attention


class StandInDescriber:
    """Gives other words each time: two a side."""

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Return words that nobody has tried."""
        return Description("cat", ("dim", "cool"), ("warm", WORDS[len(previous) % len(WORDS)]), "price")


def composite() -> Composite:
    """Return a small photo with a square foreground."""
    mask = torch.zeros(1, SIZE, SIZE)
    mask[:, SIZE // 4 : SIZE // 2 + SIZE // 4, SIZE // 4 : SIZE // 2 + SIZE // 4] = 1
    image = torch.linspace(0.1, 0.9, SIZE).expand(3, SIZE, SIZE) * (1 - 0.4 * mask)
    return Composite("stand-in", "price", image, mask)
