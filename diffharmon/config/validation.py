"""Validation: every component against its constructor, every group of parts against what was chosen."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import field, make_dataclass
from functools import cache
from importlib import import_module
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from diffharmon.config.choices import FORMER_KEYS, MULTIPLE
from diffharmon.config.recommended import KEY as RECOMMENDED
from diffharmon.config.recommended import USES
from diffharmon.errors import ConfigError

PRIMITIVES = (int, float, bool, str)
PACKAGES = ("diffharmon.", "lightning.")


def load_target(target: str, key: str) -> Any:
    """Import what ``_target_`` names.

    Raises:
        ConfigError: It does not exist.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}._target_: cannot import {target!r}: {error}") from error


def constructor_parameters(target: Any) -> dict[str, inspect.Parameter]:
    """Read what a class can be built with; ``**arguments`` stands for what the next class in line takes."""
    found: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(target) if inspect.isclass(target) else ():
        if "__init__" not in vars(base):
            continue
        _, *own = inspect.signature(vars(base)["__init__"]).parameters.values()
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        found = {**{p.name: p for p in own if p.kind not in variable}, **found}
        if not any(p.kind == inspect.Parameter.VAR_KEYWORD for p in own):
            break
    return found


@cache
def schema(target: type) -> type:
    """Turn a constructor's signature into a structured config.

    Primitives keep their type (``None`` allowed where the annotation says so), ``Literal`` becomes ``str``, everything
    else is ``Any``.
    """
    fields: list[Any] = []
    for name, parameter in constructor_parameters(target).items():
        default = parameter.default
        if default is parameter.empty:
            default = MISSING
        elif not isinstance(default, (*PRIMITIVES, type(None))):
            default = None
        kind = field_type(parameter.annotation) if default is not None else Any
        if default is None and None in optional_kinds(parameter.annotation):
            kind = field_type(parameter.annotation)
        fields.append((name, kind, field(default=default)))
    return make_dataclass(f"{target.__name__}Config", fields)


def optional_kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, with None for ``NoneType``; any other annotation is its only member."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(None if kind is type(None) else kind for kind in typing.get_args(annotation))
    return (annotation,)


def field_type(annotation: Any) -> Any:
    """Reduce an annotation to what OmegaConf can check."""
    kinds = optional_kinds(annotation)
    plain = [kind for kind in kinds if kind is not None]
    if len(plain) != 1:
        return Any
    kind = plain[0]
    if typing.get_origin(kind) is typing.Literal and all(isinstance(c, str) for c in typing.get_args(kind)):
        kind = str
    if kind not in PRIMITIVES:
        return Any
    return typing.Optional[kind] if None in kinds else kind  # noqa: UP045 (OmegaConf reads this form)


def components(config: DictConfig, key: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Walk all nodes that have a ``_target_``, with their full keys; interpolated nodes are met where they stand."""
    if "_target_" in config:
        yield key, config
    for name in map(str, config):
        path = f"{key}.{name}" if key else name
        if OmegaConf.is_interpolation(config, name) or OmegaConf.is_missing(config, name):
            continue
        node = config._get_node(name)
        if isinstance(node, DictConfig) and not node._is_none():
            yield from components(node, path)


def validate(config: DictConfig) -> None:
    """Check every component against its constructor, and give it the types and the defaults declared there.

    Raises:
        ConfigError: Unknown key, wrong type, wrong choice or missing value, with its full key.
    """
    for group in MULTIPLE:
        for name in map(str, config.get(group) or {}):
            check_part(group, name, config[group][name])
    for key, node in components(config):
        if not str(node._target_).startswith(PACKAGES):
            expected = " or ".join(PACKAGES)
            raise ConfigError(f"{key}._target_: expected something inside {expected}, got {node._target_!r}")
        target = load_target(str(node._target_), key)
        described = {"_target_", RECOMMENDED} if key in USES else {"_target_"}
        given = OmegaConf.create({name: node._get_node(name) for name in node if name not in described})
        given._set_parent(node._get_parent())
        parameters = constructor_parameters(target)
        for name in map(str, given):
            if name not in parameters:
                former = FORMER_KEYS.get(f"{key}.{name}")
                expected = f"{former} is meant" if former else f"expected one of {', '.join(parameters)}"
                raise ConfigError(f"{key}.{name}: unknown key; {expected}")
        try:
            merged = OmegaConf.merge(OmegaConf.structured(schema(target)), given)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{key}.{error.full_key}: {reason}") from error
        for name, parameter in parameters.items():
            check_value(f"{key}.{name}", merged, name, parameter)
        with open_dict(node):
            adopt_types(node, merged)
            fill_defaults(node, inspect.signature(target).parameters)


def check_part(group: str, name: str, part: Any) -> None:
    """Refuse what a group of parts holds besides the parts that were chosen.

    Raises:
        ConfigError: With the way to choose a part, or to leave it out.
    """
    if isinstance(part, DictConfig) and "_target_" in part:
        return
    key = f"{group}.{name}"
    if key in FORMER_KEYS:
        raise ConfigError(f"{key}: unknown key; {FORMER_KEYS[key]} is meant")
    if part is None:
        raise ConfigError(f"{key}: expected settings, got null; ~{key} leaves the part out")
    if isinstance(part, str):
        raise ConfigError(f"{key}: expected settings, got {part!r}; {group}=[...,{part}] chooses a part")
    raise ConfigError(f"{key}: settings of a part that is not chosen; choose it in {group}=[...], or remove them")


def adopt_types(node: DictConfig, merged: Any) -> None:
    """Write values back in the type the constructor declares, so that 3 and 3.0 are one configuration."""
    for name in map(str, node):
        if name in merged and not OmegaConf.is_interpolation(node, name):
            value = merged[name]
            if isinstance(value, PRIMITIVES) and type(value) is not type(node[name]):
                node[name] = value


def fill_defaults(node: DictConfig, parameters: Mapping[str, inspect.Parameter]) -> None:
    """Add the constructor's own defaults, so that a run's record is complete and its hash follows a changed default."""
    for name, parameter in parameters.items():
        default = parameter.default
        settable = isinstance(default, (*PRIMITIVES, tuple)) or field_type(parameter.annotation) is not Any
        if name not in node and default is not parameter.empty and settable:
            node[name] = list(default) if isinstance(default, tuple) else default


def check_value(key: str, merged: Any, name: str, parameter: inspect.Parameter) -> None:
    """Refuse a missing value and a choice outside a ``Literal``."""
    if OmegaConf.is_missing(merged, name):
        raise ConfigError(f"{key}: a value is required, none was given")
    if name not in merged or OmegaConf.is_interpolation(merged, name):
        return
    if typing.get_origin(parameter.annotation) is typing.Literal:
        choices = typing.get_args(parameter.annotation)
        if merged[name] not in choices:
            raise ConfigError(f"{key}: expected one of {', '.join(map(str, choices))}, got {merged[name]!r}")
