"""Text as a value, and a second family of backbones whose text has more than tokens, through the whole method."""

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.describer.fixed import Fixed
from diffharmon.embedding.negative_prompt import NegativePrompt
from diffharmon.embedding.null_text import NullText
from diffharmon.embedding.text_refine import TextRefine
from diffharmon.evaluator.none import NoEvaluator
from diffharmon.method.diffusion import Diffusion
from diffharmon.method.policy import Policy
from diffharmon.recomposer.paste import Paste
from diffharmon.reference.null_text import ReferenceNullText
from diffharmon.reference.text_refine import ReferenceTextRefine
from diffharmon.sampler.ddim import DDIM
from diffharmon.types import Text, Watcher

PROMPTS = {"": 0, "cat dim cold": 1, "cat bright": 2}
EMPTY, FOREGROUND, BACKGROUND = PROMPTS.values()


@dataclass(frozen=True)
class MarkedText(Text):
    """Text of a family that needs one more number a prompt: which prompt it is."""

    prompt: Float[Tensor, " rows"] | None = None


class PooledDiffusion(StableDiffusion):
    """A family whose network also takes a pooled vector, and whose text tells its prompts apart."""

    def __init__(self, path):
        super().__init__(path, size=64)
        self.calls = []

    def embed(self, prompts, edits=()):
        tokens = super().embed(prompts, edits).tokens
        marks = torch.tensor([float(PROMPTS[prompt]) for prompt in prompts])
        return MarkedText(tokens, tokens.mean(dim=1), marks)

    def predict(self, latent, timestep, text):
        assert len(latent) == len(text) == len(text.pooled) == len(text.prompt)
        self.calls.append(tuple(text.prompt.int().tolist()))
        return super().predict(latent, timestep, text) + text.pooled.mean(dim=1)[:, None, None, None]


class Stages(Watcher):
    """Collects the prompts of every network call by stage."""

    def __init__(self, backbone):
        self.backbone = backbone
        self.prompts = defaultdict(set)

    @contextmanager
    def stage(self, name):
        self.backbone.calls.clear()
        yield
        self.prompts[name] |= set(self.backbone.calls)


@pytest.fixture
def text():
    return Text(torch.arange(24.0).reshape(3, 4, 2), torch.arange(15.0).reshape(3, 5))


def same(first, second):
    return all(torch.equal(first.tensors()[name], second.tensors()[name]) for name in first.tensors())


def test_a_row_is_a_text_of_one_row(text):
    for row in range(3):
        assert torch.equal(text[row].tokens, text.tokens[row, None])
        assert torch.equal(text[row].pooled, text.pooled[row, None])
    assert same(text[-1], text[2])
    assert [len(row) for row in text] == [1, 1, 1]
    with pytest.raises(IndexError):
        text[3]


def test_joining_the_rows_gives_the_text_again(text):
    assert same(Text.cat(list(text)), text)
    assert same(text[1].expand(3), Text.cat([text[1]] * 3))
    assert Text.cat(list(replace(text, pooled=None))).pooled is None


def test_texts_with_and_without_a_pooled_vector_do_not_mix(text):
    with pytest.raises(ValueError, match="with and without 'pooled'"):
        Text.cat([text, replace(text, pooled=None)])


def test_a_detached_copy_is_not_reached_by_later_updates(text):
    leaf = replace(text, tokens=text.tokens.clone().requires_grad_())
    copy = leaf.detach()
    with torch.no_grad():
        leaf.tokens.add_(1)
    assert same(copy, text)
    assert not copy.tokens.requires_grad


@pytest.mark.parametrize("reference", [False, True])
def test_loops_carry_whatever_a_family_puts_in_its_text(pipeline_folder, composite, reference):
    refine = ReferenceTextRefine(divisor=8, latents="denoised") if reference else TextRefine(divisor=8)
    null = ReferenceNullText(2.5, stale_first=True) if reference else NullText(2.5)
    stages = run(pipeline_folder, composite, {"text": refine, "unconditional": null})
    assert stages["inversion"] == {(EMPTY,)}
    assert stages["text"] == {(FOREGROUND, BACKGROUND), *([(EMPTY,)] if reference else [])}
    assert stages["unconditional"] == {(FOREGROUND,), (EMPTY,)}
    # Null-text optimization begins where the edit does: of the first step the edited branch alone is not known.
    assert stages["edit"] == {(EMPTY, FOREGROUND, BACKGROUND), (BACKGROUND,)}


def test_a_negative_prompt_brings_all_of_its_text(pipeline_folder, composite):
    stages = run(pipeline_folder, composite, {"unconditional": NegativePrompt()})
    assert (FOREGROUND, FOREGROUND, BACKGROUND) in stages["edit"]


def run(folder, composite, embedding):
    """Harmonize with the second family; returns the prompts of the network's calls by stage."""
    backbone = PooledDiffusion(str(folder))
    method = Diffusion(
        describer=Fixed("cat", "dim cold", "bright"),
        backbone=backbone,
        sampler=DDIM(steps=5),
        embedding=embedding,
        structure={},
        recomposer=Paste(),
        evaluator=NoEvaluator(),
        policy=Policy(iterations=1),
    )
    stages = Stages(backbone)
    description = method.describer.describe(composite)
    canvas = method.canvas(composite)
    method.attempt(canvas, canvas.target.image, description, watch=stages)
    return stages.prompts
