"""One call: a composite and its mask in, the harmonized photo out."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from diffharmon import images
from diffharmon.api.device import device_of, threads
from diffharmon.api.inputs import compose_cut_out, read_composite
from diffharmon.api.result import Result, result_of
from diffharmon.config import build, composed, load_target
from diffharmon.config.signatures import parameters_of
from diffharmon.config.validation import check_setting
from diffharmon.describer.fixed import Fixed
from diffharmon.errors import ConfigError, InputError
from diffharmon.method.finite import require_finite_outcome
from diffharmon.types import Description, Watcher, ignore

Words = str | Sequence[str]


class Harmonizer:
    """Loads what a configuration names once, and harmonizes composites with it on one device, `trainer.accelerator`.

    Calls from several threads are run one after another, by a lock of the harmonizer: models are changed inside a call
    and put back at its end. Two harmonizers share nothing and run side by side.

    Attributes:
        config: The configuration with all defaults.
        device: Where it computes; pictures come from and go back to the CPU.

    Args:
        overrides: As on the command line, such as ``"experiment=paper"``.
        choices: The same by keyword, such as ``backbone="tiny"``; dots are written as two underscores:
            ``method__policy__iterations=3``.

    Raises:
        ConfigError: A choice or a value does not exist or does not fit.
        ModelError: A model cannot be loaded.
    """

    def __init__(self, *overrides: str, **choices: Any) -> None:
        groups, values = [], {}
        for name, value in choices.items():
            if "__" in name:
                values[name.replace("__", ".")] = value
            else:
                groups.append(f"{name}={_spelled(value)}")
        self.config = composed([*overrides, *groups], values)
        node = self.config.method
        self._build = load_target(str(node["_target_"]), "method")
        self._parts = {str(name): build(node[name]) for name in node if name != "_target_"}
        self.device = device_of(self.config.trainer)
        self._lock = threading.Lock()

    @property
    def takes(self) -> frozenset[str]:
        """Which of ``words``, ``object`` (without words), ``strength``, ``seed`` and ``variants`` a call may give."""
        method = self.config.method
        found = {name for name in ("seed", "variants", "strength") if name in method}
        if "describer" in self._parts:
            found.add("words")
        for part, setting in (("describer", "object"), ("recomposer", "strength")):
            if isinstance(method.get(part), DictConfig) and setting in method[part]:
                found.add(setting)
        return frozenset(found)

    def describe(
        self,
        composite: Any,
        mask: Any,
        *,
        colour: bool = False,
        max_megapixels: float = images.MAX_MEGAPIXELS,
    ) -> Description:
        """Return the words that the configuration's describer proposes, without harmonizing.

        Args:
            composite: As for a call.
            mask: As for a call.
            colour: As for a call.
            max_megapixels: As for a call.

        Raises:
            InputError: A picture cannot be read or does not fit.
            ConfigError: The method takes no words.
            DescriberError: The describer gave nothing usable.
        """
        self._require("describer", "words")
        _, made = read_composite(composite, mask, max_megapixels, colour)
        with self._lock, self._computing():
            return self._parts["describer"].describe(made)

    def __call__(
        self,
        composite: Any = None,
        mask: Any = None,
        *,
        object: str | None = None,
        foreground: Any = None,
        background: Any = None,
        strength: float | None = None,
        seed: int | None = None,
        variants: int | None = None,
        position: tuple[int, int] = (0, 0),
        colour: bool = False,
        max_megapixels: float = images.MAX_MEGAPIXELS,
        watch: Watcher = ignore,
    ) -> Result:
        """Harmonize one composite, or one cut-out over a background.

        Args:
            composite: The composite as a file, PIL image, numpy array or torch tensor.
            mask: Its foreground mask, of any of the same kinds.
            object: Name of the foreground object, such as "cat"; None as configured.
            foreground: Words for the light the foreground was taken in; without a composite, a cut-out with alpha.
            background: Words for the light of the scene; without a composite, the photo to put the cut-out on.
            strength: 1 applies the change fully, 0 not at all; None as configured.
            seed: Seeds all that is random; None as configured.
            variants: How many results to choose from; None as configured.
            position: Column and row of the cut-out's upper left corner in the background; may lie outside.
            colour: Treat a grey composite as one with colours, which the result may then have.
            max_megapixels: The largest number of pixels of a file in millions.
            watch: Follows the method: receives every step and surrounds every stage.

        Raises:
            InputError: A picture cannot be read or does not fit, or only one side has words.
            ConfigError: The method takes no words, object, variants, seed or strength, or one is out of range.
        """
        if composite is None:
            source, made = compose_cut_out(foreground, background, position, max_megapixels)
            words: tuple[Words | None, Words | None] = (None, None)
        else:
            source, made = read_composite(composite, mask, max_megapixels, colour)
            words = (foreground, background)
        with self._lock, self._computing():
            method = self._method(object, *words, strength, seed, variants)
            if isinstance(method, nn.Module):
                method.to(self.device)
            outcome = method.harmonize(made.to(self.device), watch)
        require_finite_outcome(outcome)
        return result_of(outcome, made, source)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute inside the ``with``, also within a program that is in inference mode."""
        with torch.inference_mode(False), threads(self.config.trainer.get("threads")):
            yield

    def _method(
        self,
        object: str | None,
        foreground: Words | None,
        background: Words | None,
        strength: float | None,
        seed: int | None,
        variants: int | None,
    ) -> Any:
        """Put the loaded parts together with what belongs to this call."""
        parts = dict(self._parts)
        if (foreground is None) != (background is None):
            missing = "foreground" if foreground is None else "background"
            raise InputError(f"words for one side only: {missing} is missing, expected words for both or for none")
        if foreground is not None and background is not None:
            self._require("describer", "words")
            parts["describer"] = Fixed(object or "object", foreground, background)
        elif object is not None:
            parts["describer"] = self._changed("describer", "object", object)
        if strength is not None:
            parts |= self._with_strength(strength)
        if seed is not None:
            self._require("seed", "seed")
            parts["seed"] = checked("seed", seed, self._build)
        if variants is not None:
            self._require("variants", "variants")
            parts["variants"] = checked("variants", variants, self._build)
        return self._build(**parts)

    def _with_strength(self, strength: float) -> dict[str, Any]:
        if "strength" in self.config.method:
            return {"strength": checked("strength", strength, self._build)}
        return {"recomposer": self._changed("recomposer", "strength", strength)}

    def _changed(self, part: str, setting: str, value: Any) -> Any:
        """Build one part of the method anew with another value.

        Raises:
            ConfigError: The part has no such setting, or the value is out of range.
        """
        node = self.config.method.get(part)
        if not isinstance(node, DictConfig) or setting not in node:
            raise ConfigError(f"{setting}: neither the method nor its {part} has one; leave it out")
        value = checked(setting, value, load_target(str(node["_target_"]), part))
        return build(OmegaConf.create({**OmegaConf.to_container(node, resolve=True), setting: value}))  # type: ignore[dict-item]

    def _require(self, part: str, what: str) -> None:
        if part not in self._parts:
            raise ConfigError(f"{what}: {self.config.method['_target_']} takes none; leave it out")


def checked(name: str, value: Any, target: Any) -> Any:
    """Return an argument of a call in the type and range that a component declares for it.

    Args:
        name: Name of the argument and of the component's setting.
        value: What was given.
        target: The component's class.

    Raises:
        ConfigError: It is of another type or out of range.
    """
    node = OmegaConf.create({name: value})
    check_setting("", node, name, parameters_of(target)[name])
    return node[name]


def _spelled(value: Any) -> str:
    """Spell a Python value as an override."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value)
