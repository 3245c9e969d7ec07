"""The public code's recorded numbers, replayed through losses, optimizers, scheduler and masks without its model."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diffharmon.config import build, composed
from diffharmon.embedding.text_refine import Words, attention_loss
from diffharmon.images import binary_mask
from diffharmon.reference.ddim import ReferenceDDIM
from diffharmon.reference.null_text import ReferenceNullText
from diffharmon.reference.text_refine import ReferenceTextRefine
from diffharmon.sampler.ddim import DDIM, DDIMSchedule
from diffharmon.sampler.loops import invert
from diffharmon.types import Conditioning, Description, Guidance, Inversion, StructureGuidance, Text

# What stands in for the recorded prompts: as many condition tokens, in the toy tokenizer's words.
PROMPTS = {
    "house128_multi": Description("cat", ("bright",), ("dim", "cold", "warm", "winter")),
    "girl128_edge": Description("cat", ("bright", "warm"), ("dim",)),
}

SIDES = ("foreground", "background")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(Path(__file__).with_name("golden.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(params=PROMPTS)
def case(request) -> str:
    return request.param


@pytest.fixture
def recorded(golden, case) -> dict[str, Tensor]:
    start = f"{case}_"
    return {name.removeprefix(start): values for name, values in golden.items() if name.startswith(start)}


@pytest.fixture(scope="module")
def config():
    return composed(["experiment=reference_quirks", "describer=fixed"])


@pytest.fixture
def shifted(backbone, recorded) -> DDIMSchedule:
    """The recorded number of steps for the toy model."""
    return ReferenceDDIM(steps=len(recorded["timesteps"]) + 1, shifted=True).schedule(backbone)


@pytest.fixture
def start(backbone, shifted, case) -> tuple[Inversion, Conditioning]:
    """A grey image, inverted, and the stand-in prompts."""
    description, steps = PROMPTS[case], len(shifted.timesteps)
    image, mask = torch.full((3, 64, 64), 0.5), torch.zeros(1, 64, 64)
    mask[:, 16:48, 16:48] = 1
    with torch.no_grad():
        texts = backbone.embed([description.foreground_prompt, description.background_prompt, ""])
        conditioning = Conditioning(*(text.expand(steps) for text in texts), description, backbone.words(description))
        trajectory = invert(backbone, shifted, backbone.encode(image[None]), conditioning, Guidance(0.0))
    return Inversion(image, mask, mask[:, ::4, ::4], trajectory, StructureGuidance()), conditioning


def widened(values: Tensor, width: int) -> Tensor:
    """Recorded coordinates in front, zeros behind them up to the toy model's width."""
    return torch.nn.functional.pad(values, (0, width - values.shape[-1]))


def options(part) -> dict:
    return {option.name: getattr(part, option.name) for option in fields(part)}


@dataclass(frozen=True)
class ReplayedTextRefine(ReferenceTextRefine):
    """The refinement whose objective has the recorded gradients."""

    initial: Words = None
    gradients: Iterator[Words] = field(default_factory=lambda: iter(()))

    def initial_words(self, backbone, conditioning):
        return self.initial

    def terms(self, task, words, initial, latent, step):
        slopes = next(self.gradients).leaves()
        products = [(leaf * slope).sum() for leaf, slope in zip(words.leaves(), slopes, strict=True)]
        nothing = torch.zeros(())
        return {
            "foreground": products[0],
            "background": products[1] + products[2],
            "regularization_foreground": nothing,
            "regularization_background": nothing,
        }


@dataclass(frozen=True)
class ReplayedNullText(ReferenceNullText):
    """The null-text optimization whose objective has the recorded gradients."""

    gradients: Iterator[Tensor] = field(default_factory=lambda: iter(()))

    def terms(self, backbone, inversion, latent, unconditional, with_text, step):
        # A loss of 1, so that it never ends a step early, with the recorded gradient.
        slope = (unconditional.tokens - unconditional.tokens.detach()) * next(self.gradients)
        return {"reconstruction": 1 + slope.sum()}, latent


def test_masks_are_reduced_as_recorded(recorded, case, config):
    original = torch.from_numpy(np.unpackbits(recorded["original_mask"].numpy())).reshape(1, 128, 128).float()
    latent = binary_mask(original, (16, 16))
    # The recording reduced the file itself; only the house's mask at 128 pixels still determines the latent one.
    if case == "house128_multi":
        assert torch.equal(latent, recorded["latent_mask"].float())
    assert (latent != recorded["latent_mask"]).sum() <= 2
    reduced = build(config.embedding.text).attention_mask(recorded["latent_mask"].float(), (4, 4))
    assert torch.equal(reduced, recorded["attention_mask"].float())


def test_attention_gives_the_recorded_losses(recorded, config):
    optimizer = build(config.embedding.text)
    masks = optimizer.attention_mask(recorded["latent_mask"].float(), (4, 4))
    tokens = recorded["words_weights"].shape[1]
    for index, update in enumerate(recorded["updates"].tolist()):
        before = recorded["words_weights"][update - 1].clone() if update else optimizer.initial_weights(tokens)
        words = Words(torch.zeros(1, 1), torch.zeros(tokens, 1), before)
        if update:
            optimizer.after_update(words)
        foreground, background = (recorded[f"maps_{side}"][index].unflatten(0, (4, 4)) for side in SIDES)
        terms = {
            "foreground": attention_loss(foreground, range(foreground.shape[-1]), None, masks[0]),
            "background": attention_loss(background, range(tokens), optimizer.fusion(words), masks[1]),
            "regularization_foreground": recorded["text_mse"][index, 2],
            "regularization_background": recorded["text_mse"][index, 3],
        }
        torch.testing.assert_close(torch.stack(list(terms.values())), recorded["text_mse"][index], atol=1e-6, rtol=0)
        torch.testing.assert_close(optimizer.total(terms), recorded["text_loss"][index], atol=1e-6, rtol=0)


def test_text_gradients_lead_to_the_recorded_words(recorded, case, config, backbone, start):
    width = start[1].foreground.tokens.shape[-1]
    names = ("foreground", "background", "weights")

    def words(kind):
        return [widened(recorded[f"{kind}_{name}"], width) for name in names[:2]]

    gradients = [Words(*slopes) for slopes in zip(*words("gradient"), recorded["gradient_weights"], strict=True)]
    remaining = iter(gradients)
    built = build(config.embedding.text)
    initial = Words(*words("initial"), built.initial_weights(len(recorded["initial_background"])))
    events = []
    optimizer = ReplayedTextRefine(**options(built), initial=initial, gradients=remaining)
    optimizer.refine(backbone, *start, events.append)
    assert next(remaining, None) is None
    reached = [event.values for event in events if "words_weights" in event.values]
    for name, expected in zip(names, (*words("words"), recorded["words_weights"]), strict=True):
        if name == "weights" and case == "girl128_edge":
            continue  # the gradient of a single weight is rounding noise, which AdamW blows up
        torch.testing.assert_close(torch.stack([v[f"words_{name}"] for v in reached]), expected, atol=1e-6, rtol=1e-5)


def test_null_text_gradients_lead_to_the_recorded_embeddings(recorded, config, backbone, shifted, start):
    inversion, conditioning = start
    tokens, width = conditioning.unconditional.tokens.shape[1:]

    def embedding(name):
        values = widened(recorded[f"null_{name}"], width)
        return torch.nn.functional.pad(values, (0, 0, 0, tokens - values.shape[-2]))

    unconditional = Text(embedding("initial")[None]).expand(len(shifted.timesteps))
    conditioning = replace(conditioning, unconditional=unconditional)
    remaining = iter(embedding("gradient")[:, None])
    events = []
    optimizer = ReplayedNullText(**options(build(config.embedding.unconditional)), gradients=remaining)
    result = optimizer.refine(backbone, inversion, conditioning, events.append)
    assert next(remaining, None) is None
    reached = torch.cat([event.values["embedding"] for event in events if "embedding" in event.values])
    torch.testing.assert_close(reached, embedding("embedding"), atol=1e-6, rtol=1e-5)
    # One update in each of the first ten steps, then two: a step keeps what its last update reached.
    last = [step if step < 10 else 11 + 2 * (step - 10) for step in range(len(shifted.timesteps))]
    torch.testing.assert_close(result.unconditional.tokens, embedding("embedding")[last], atol=1e-6, rtol=1e-5)


def test_null_text_terms_add_up_to_the_recorded_loss(recorded, config):
    weights = (
        config.embedding.unconditional.reconstruction,
        config.structure.pidinet.weight,
        config.structure.sobel.weight,
    )
    total = recorded["null_mse"] @ torch.tensor(weights)
    torch.testing.assert_close(total, recorded["null_loss"], atol=0, rtol=1e-5)


def test_timesteps_are_the_recorded_ones(recorded, shifted):
    assert torch.equal(shifted.timesteps, recorded["timesteps"])


def test_denoising_steps_give_the_recorded_latents(golden, backbone):
    schedule = DDIM(steps=len(golden["step_timesteps"])).schedule(backbone)
    assert torch.equal(schedule.timesteps, golden["step_timesteps"])
    latent, noise = golden["step_latents"][:, None]
    steps = [schedule.denoise(latent, noise, step) for step in range(len(schedule.timesteps))]
    torch.testing.assert_close(torch.stack(steps), golden["step_results"], atol=1e-6, rtol=1e-5)
