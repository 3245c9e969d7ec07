"""Counting a method's calls by running it, loops and all, on a small photo with a stand-in for its model."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from diffharmon.config import build
from diffharmon.errors import ConfigError, DiffharmonError
from diffharmon.pricing import stand_in
from diffharmon.types import Event, Watcher

Part = Literal["network", "decoder", "encoder"]


@dataclass(frozen=True)
class Call:
    """A kind of call of one part of the model.

    Attributes:
        part: What is called.
        rows: Samples in the call.
        gradient: Whether gradients flow back through it.
        cut: The block that the call ended in before its end; empty where it came to its end.
        half: Whether a decoder was given a latent of half the canvas's sides.
    """

    part: Part
    rows: int
    gradient: bool = False
    cut: str = ""
    half: bool = False


Calls = Mapping[str, Counter]


@dataclass(frozen=True)
class Count:
    """How often one image calls what, by stage and kind of call.

    Attributes:
        first: In a pass from a new image.
        again: In a pass with other words from the same image.
        after: Once all passes are done.
        descriptions: Passes of the first iteration.
        iterations: The most iterations.
    """

    first: Calls = field(default_factory=dict)
    again: Calls = field(default_factory=dict)
    after: Calls = field(default_factory=dict)
    descriptions: int = 0
    iterations: int = 0

    @property
    def passes(self) -> int:
        """The most passes over an image."""
        return self.descriptions + max(self.iterations - 1, 0)

    @property
    def total(self) -> dict[str, Counter]:
        """The most calls of an image: the loop may stop earlier, or leave the image alone."""
        found: dict[str, Counter] = {}
        for calls, times in ((self.first, self.iterations), (self.again, self.descriptions - 1), (self.after, 1)):
            for stage, own in calls.items():
                found.setdefault(stage, Counter()).update({call: number * times for call, number in own.items()})
        return {stage: +calls for stage, calls in found.items() if +calls}

    def number(self, part: Part = "network", samples: bool = False) -> int:
        """Count the most calls of a part, or the samples in them."""
        calls = [item for own in self.total.values() for item in own.items() if item[0].part == part]
        return sum(number * (call.rows if samples else 1) for call, number in calls)


class CallCounter(Watcher):
    """Counts calls by stage, and keeps what was counted by the end of each pass."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.calls: dict[str, Counter] = {}
        self.passes: list[dict[str, Counter]] = []
        self.entered = ""
        self.begun: list[Call] = []

    def __call__(self, event: Event) -> None:
        """Ignore an event: only stages and calls count."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note which stage is under way; recomposing ends a pass."""
        self.stages.append(name)
        try:
            yield
        finally:
            self.settle()
            self.stages.pop()
            if name == "recompose":
                self.passes.append(self.calls)
                self.calls = {}

    @contextmanager
    def listening(self, part: Part, module: nn.Module) -> Iterator[None]:
        """Count the calls of a module inside the ``with``."""

        def begin(module: nn.Module, args: tuple, kwargs: dict) -> None:
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
            self.settle()
            half = part == "decoder" and 2 * tensors[0].shape[-1] == stand_in.SIZE // stand_in.CELL
            self.begun.append(Call(part, len(tensors[0]), gradient, half=half))
            self.entered = ""

        def end(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            self.add(self.begun.pop())

        def enter(name: str) -> Any:
            def hook(module: nn.Module, args: tuple) -> None:
                self.entered = name

            return hook

        handles = [
            module.register_forward_pre_hook(begin, with_kwargs=True),
            module.register_forward_hook(end, with_kwargs=True),
            *(inner.register_forward_pre_hook(enter(name)) for name, inner in blocks(module)),
        ]
        try:
            yield
        finally:
            self.settle()
            for handle in handles:
                handle.remove()

    def settle(self) -> None:
        """Count a call that never came to its end, when the next one or its stage's end comes."""
        for call in self.begun:
            self.add(Call(call.part, call.rows, call.gradient, self.entered))
        self.begun.clear()

    def add(self, call: Call) -> None:
        """Add one call to the stage under way."""
        stage = self.stages[-1] if self.stages else "begin"
        self.calls.setdefault(stage, Counter())[call] += 1


def blocks(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """List the blocks of a UNet, in which a call may end before its end."""
    for name, inner in module.named_modules():
        if name == "mid_block" or (name.count(".") == 1 and name.split(".")[0] in ("down_blocks", "up_blocks")):
            yield name, inner


def count_calls(config: DictConfig) -> Count:
    """Count the calls of an image under a configuration; nothing where its method has no diffusion model.

    Args:
        config: A validated configuration.

    Raises:
        ConfigError: The method's parts cannot be run on the stand-in.
    """
    if not evaluates(config):
        return Count()
    descriptions, iterations = int(config.method.descriptions), int(config.method.policy.iterations)
    counter = CallCounter()
    try:
        method = build(small(config).method)
        backbone = method.backbone
        parts: dict[Part, nn.Module] = {
            "network": backbone.network, "decoder": backbone.vae.decoder, "encoder": backbone.vae.encoder
        }  # fmt: skip
        with ExitStack() as stack:
            stack.enter_context(stand_in.shortcuts(backbone))
            for part, module in parts.items():
                stack.enter_context(counter.listening(part, module))
            method.harmonize(stand_in.composite(), counter)
    except DiffharmonError:
        raise
    except Exception as error:
        raise ConfigError(f"the calls of {config.method._target_} cannot be counted: {error!r}") from error
    first, *others = counter.passes
    return Count(first, others[0] if others else {}, counter.calls, descriptions, iterations)


def evaluates(config: DictConfig) -> bool:
    """Return whether a configuration's method has a diffusion model."""
    return "backbone" in config.method and "policy" in config.method


def small(config: DictConfig) -> DictConfig:
    """Return the configuration with a stand-in for the model, and parts that judge or look in place of large ones."""
    made = DictConfig(OmegaConf.to_container(config, resolve=True))
    method = made.method
    with open_dict(made):
        method.backbone = {
            "_target_": "diffharmon.backbone.stable_diffusion.StableDiffusion",
            "path": str(stand_in.path()),
            "size": stand_in.SIZE,
            "gradient_checkpointing": bool(method.backbone.get("gradient_checkpointing", False)),
        }
        if method.sampler._target_ == "diffharmon.sampler.flow.FlowEuler":  # calls the network as often
            method.sampler._target_ = "diffharmon.sampler.ddim.DDIM"
        method.describer = {"_target_": "diffharmon.pricing.stand_in.StandInDescriber"}
        if "backbone" in method.evaluator:  # one that judges with the model itself
            method.evaluator.backbone = "${method.backbone}"
        else:
            method.evaluator = {"_target_": "diffharmon.evaluator.none.NoEvaluator"}
        method.recomposer = {"_target_": "diffharmon.recomposer.paste.Paste"}
        method.variants = 1
        method.descriptions = min(int(method.descriptions), 2)
        method.policy.iterations = 1
        method.policy.skip_above = method.policy.min_odds_gain = None
        for part in method.structure.values():
            if "detector" in part:  # edges of any kind are one loss on the decoded image
                part.detector = {"_target_": "diffharmon.structure.sobel.Sobel"}
    return made
