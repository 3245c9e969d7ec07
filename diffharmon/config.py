"""Configuration: a schema from every constructor, validation before anything loads, building by ``_target_``.

A component's constructor is the only declaration of its parameters. ``validate`` merges each composed node onto a
structured config made from the signature, so a mistyped key or a wrong type is refused with its full key, also when it
stands in an experiment file, which Hydra alone would let pass.
"""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, make_dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra import compose, initialize_config_module
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diffharmon.errors import ConfigError
from diffharmon.files import ASSETS

PRIMITIVES = (int, float, bool, str)
PACKAGES = ("diffharmon.", "lightning.")
CONFIG_FOLDER = Path(str(files("diffharmon.conf")))


def register_resolvers() -> None:
    """Teach OmegaConf ``${asset:...}``; once a job, since a launcher's worker takes over its parent's resolvers."""
    OmegaConf.register_new_resolver("asset", lambda name: str(ASSETS / name), replace=True)


register_resolvers()


def load_target(target: str, key: str) -> Any:
    """Import what ``_target_`` names.

    Raises:
        ConfigError: It does not exist, or lies outside diffharmon and lightning.
    """
    if not target.startswith(PACKAGES):
        raise ConfigError(f"{key}._target_: expected something inside {' or '.join(PACKAGES)}, got {target!r}")
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}._target_: cannot import {target!r}: {error}") from error


@cache
def schema(target: type) -> type:
    """Turn a constructor's signature into a structured config.

    Primitives keep their type (``None`` allowed where the annotation says so), ``Literal`` becomes ``str``, everything
    else is ``Any``.
    """
    fields: list[Any] = []
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
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


def expand_parts(config: DictConfig) -> None:
    """Replace a part's name in a slot of ``embedding`` or ``structure`` by that part's settings, in place.

    A slot holds a part's settings, a part's name, or null, so ``embedding.null=negative_prompt`` is one override.

    Raises:
        ConfigError: No part has that name.
    """
    for group in ("embedding", "structure"):
        for slot, value in (config.get(group) or {}).items():
            if not isinstance(value, str):
                continue
            folder = CONFIG_FOLDER / group / "part"
            path = folder / f"{value}.yaml"
            if not path.is_file():
                known = ", ".join(sorted(part.stem for part in folder.glob("*.yaml")))
                raise ConfigError(f"{group}.{slot}: expected null or one of {known}, got {value!r}")
            config[group][slot] = OmegaConf.load(path)


def composed(overrides: Sequence[str], values: Mapping[str, Any] = MappingProxyType({})) -> DictConfig:
    """Compose and validate a configuration from Python, as the command would.

    Args:
        overrides: As on the command line.
        values: Set after composing, by full key: for paths and other text that Hydra's grammar would have to quote.

    Raises:
        ConfigError: As ``validate``.
    """
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    for key, value in values.items():
        OmegaConf.update(config, key, value, merge=False)
    expand_parts(config)
    validate(config)
    return config


def validate(config: DictConfig) -> None:
    """Check every component against its constructor, and give its values the types declared there.

    Raises:
        ConfigError: Unknown key, wrong type, wrong choice or missing value, with its full key.
    """
    for key, node in components(config):
        target = load_target(str(node._target_), key)
        given = OmegaConf.create({name: node._get_node(name) for name in node if not str(name).startswith("_")})
        given._set_parent(node._get_parent())
        parameters = inspect.signature(target).parameters
        for name in map(str, given):
            if name not in parameters:
                raise ConfigError(f"{key}.{name}: unknown key; expected one of {', '.join(parameters)}")
        try:
            merged = OmegaConf.merge(OmegaConf.structured(schema(target)), given)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{key}.{error.full_key}: {reason}") from error
        for name, parameter in parameters.items():
            check_value(f"{key}.{name}", merged, name, parameter)
        adopt_types(node, merged)


def adopt_types(node: DictConfig, merged: Any) -> None:
    """Write values back in the type the constructor declares, so that 3 and 3.0 are one configuration."""
    for name in map(str, node):
        if name in merged and not OmegaConf.is_interpolation(node, name):
            value = merged[name]
            if isinstance(value, PRIMITIVES) and type(value) is not type(node[name]):
                node[name] = value


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


def build(node: DictConfig | ListConfig, **values: Any) -> Any:
    """Instantiate a node and all inside it; lists and dicts arrive as plain Python.

    A component's own error comes out as it was raised, not wrapped, so that a clear message stays clear.
    """
    try:
        return instantiate(node, **values, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        raise cause from None
