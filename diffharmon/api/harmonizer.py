"""One call: a composite and its mask in, the harmonized photo out."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diffharmon import images
from diffharmon.api.pictures import Loaded, load, load_mask
from diffharmon.api.result import Result
from diffharmon.config import build, composed, load_target
from diffharmon.config.signatures import parameters_of
from diffharmon.config.validation import check_setting
from diffharmon.describer.fixed import Fixed
from diffharmon.errors import ConfigError, InputError
from diffharmon.types import Composite, Outcome, Watcher, ignore

Words = str | Sequence[str]


class Harmonizer:
    """Loads what a configuration names once, and harmonizes composites with it.

    Calls from several threads are run one after another, by a lock of the harmonizer: models are changed inside a call
    and put back at its end.

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
        self._lock = threading.Lock()

    def __call__(
        self,
        composite: Any = None,
        mask: Any = None,
        *,
        object: str = "object",
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
            object: Name of the foreground object, used with words.
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
            ConfigError: The method takes no words, variants, seed or strength, or one is out of range.
        """
        if composite is None:
            source, made = compose_cut_out(foreground, background, position, max_megapixels)
            words: tuple[Words | None, Words | None] = (None, None)
        else:
            source, made = read_composite(composite, mask, max_megapixels, colour)
            words = (foreground, background)
        with self._lock, torch.inference_mode(False):
            outcome = self._method(object, *words, strength, seed, variants).harmonize(made, watch)
        return result_of(outcome, made, source)

    def _method(
        self,
        object: str,
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
            parts["describer"] = Fixed(object, foreground, background)
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
        node = self.config.method
        if "strength" in node:
            return {"strength": checked("strength", strength, self._build)}
        recomposer = node.get("recomposer")
        if not isinstance(recomposer, DictConfig) or "strength" not in recomposer:
            raise ConfigError("strength: neither the method nor its recomposer has one; leave it out")
        strength = checked("strength", strength, load_target(str(recomposer["_target_"]), "recomposer"))
        changed = {**OmegaConf.to_container(recomposer, resolve=True), "strength": strength}  # type: ignore[dict-item]
        return {"recomposer": build(OmegaConf.create(changed))}

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


def result_of(outcome: Outcome, composite: Composite, source: Loaded) -> Result:
    """Return a method's best result with those to choose from: the variants asked for, else all attempts.

    Args:
        outcome: What the method did.
        composite: What was harmonized.
        source: The picture that the result is given back as.
    """
    results = tuple(
        Result(composite, choice.image, choice.description, choice.score.value, outcome.reason, source)
        for choice in outcome.variants or outcome.attempts
    )
    best = next(result for result in results if result.harmonized is outcome.best.image)
    return replace(best, variants=results, attention=outcome.best.words)


def read_composite(
    composite: Any, mask: Any, max_megapixels: float = images.MAX_MEGAPIXELS, colour: bool = False
) -> tuple[Loaded, Composite]:
    """Read a composite and its mask from any kind of picture.

    Args:
        composite: The composite.
        mask: Its foreground mask.
        max_megapixels: The largest number of pixels of a file in millions.
        colour: Treat a grey composite as one with colours.

    Raises:
        InputError: One of them cannot be read, they differ in size, or the mask selects nothing or everything.
    """
    source = load(composite, "composite", max_megapixels)
    if colour:
        source = replace(source, picture=images.coloured(source.picture))
    if mask is None:
        raise InputError("mask: expected the foreground mask of the composite, got none")
    foreground = load_mask(mask, max_megapixels)
    images.check_mask(foreground, source.picture.image, "mask")
    return source, source.picture.composite(source.name, "call", foreground)


def compose_cut_out(
    cut_out: Any, background: Any, position: tuple[int, int], max_megapixels: float = images.MAX_MEGAPIXELS
) -> tuple[Loaded, Composite]:
    """Lay a cut-out over a background, in whose colour space they are blended; its alpha becomes the foreground mask.

    Args:
        cut_out: A picture with transparency.
        background: The photo beneath, which gives the result its size.
        position: Column and row of the cut-out's upper left corner; what lies outside is cut off.
        max_megapixels: The largest number of pixels of a file in millions.

    Raises:
        InputError: A picture is missing, the cut-out has no transparency, or nothing of it lies inside.
    """
    if cut_out is None or background is None:
        raise InputError(
            "expected a composite and its mask, or foreground= a cut-out with alpha and background= a photo"
        )
    front = load(cut_out, "foreground", max_megapixels).picture
    behind = load(background, "background", max_megapixels)
    if front.alpha is None:
        raise InputError("foreground: expected a cut-out with an alpha channel, got a picture without one")
    photo = images.coloured(behind.picture)
    size = tuple(photo.image.shape[-2:])
    colour, cover = (_placed(part, size, position) for part in (front.image, front.alpha))
    images.check_mask(cover, photo.image, "foreground (its alpha at this position)")
    if photo.encoded is not None:
        encoded = _over(images.from_srgb(colour, photo.profile), cover, photo.encoded)
        photo = replace(photo, encoded=encoded)
    photo = replace(photo, image=_over(colour, cover, photo.image))
    return behind, photo.composite(behind.name, "call", cover)


def _over(
    front: Float[Tensor, "3 h w"], cover: Float[Tensor, "1 h w"], behind: Float[Tensor, "3 h w"]
) -> Float[Tensor, "3 h w"]:
    """Lay one picture over another, which stays bit for bit where nothing covers it."""
    return torch.where(cover > 0, cover * front + (1 - cover) * behind, behind)


def _placed(
    picture: Float[Tensor, "c v u"], size: tuple[int, ...], position: tuple[int, int]
) -> Float[Tensor, "c h w"]:
    """Put a picture on an empty canvas."""
    canvas = picture.new_zeros(len(picture), *size)
    inside, cut = zip(
        *(_overlap(*ends) for ends in zip(position[::-1], picture.shape[-2:], size, strict=True)), strict=True
    )
    canvas[:, inside[0], inside[1]] = picture[:, cut[0], cut[1]]
    return canvas


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Return where a piece lies on an axis of ``size``, and which part of the piece that is."""
    first, last = max(start, 0), max(min(start + length, size), max(start, 0))
    first = min(first, last)
    return slice(first, last), slice(first - start, last - start)


def _spelled(value: Any) -> str:
    """Spell a Python value as an override."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value)
