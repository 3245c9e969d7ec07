"""Kinds of component: which classes a ``_target_`` may name, checked on the classes themselves."""

import inspect
import types
import typing
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from diffharmon.config.signatures import parameters_of
from diffharmon.config.values import PRIMITIVES, holds, is_component
from diffharmon.errors import ConfigError

# Config groups and the protocols in `diffharmon.protocols` that their classes implement.
KINDS = {
    "dataset": "Dataset",
    "describer": "Describer",
    "embedding": "EmbeddingOptimizer",
    "structure": "StructurePreserver",
    "recomposer": "Recomposer",
    "evaluator": "Evaluator",
    "method": "Method",
    "backbone": "Backbone",
    "sampler": "Sampler",
    "metrics": "Metric",
    "logger": "Logger",
}


class NoClass:
    """Stands for the classes that a parameter takes whose annotation names none."""


def load_target(target: str, key: str) -> type:
    """Import the class that ``_target_`` names; any importable one, of whatever package.

    Raises:
        ConfigError: It does not exist or is no class.
    """
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}._target_: cannot import {target!r}: {error}") from error
    if not isinstance(found, type):
        raise ConfigError(f"{key}._target_: expected a class, {target} is a {type(found).__name__}")
    return found


def expected_kind(group: str) -> tuple[Any, ...]:
    """Return what the classes of a config group implement."""
    if group == "trainer":
        from lightning.pytorch import Trainer

        return (Trainer,)
    from diffharmon import protocols  # imports torch

    return (getattr(protocols, KINDS[group]),)


def check_kinds(config: DictConfig, groups: Sequence[str]) -> None:
    """Import the classes of all components, refuse those of the wrong kind, and fill in the constructors' defaults.

    Args:
        config: The configuration.
        groups: Its keys that are config groups.

    Raises:
        ConfigError: With the full key.
    """
    for name in map(str, config):
        if not OmegaConf.is_interpolation(config, name) and not OmegaConf.is_missing(config, name):
            check_node(config._get_node(name), name, expected_kind(name) if name in groups else ())


def check_node(node: Any, key: str, expected: tuple[Any, ...]) -> None:
    """Check a node and all in it; what is in a component is of the kind that its constructor's annotation names.

    Under a parameter whose annotation names no class there is none: it would be built whatever it does.
    """
    if not isinstance(node, DictConfig | ListConfig) or node._is_none():
        return
    is_list, annotations = isinstance(node, ListConfig), {}
    if isinstance(node, DictConfig) and "_target_" in node:
        target = load_target(str(node["_target_"]), key)
        check_class(target, key, expected)
        annotations = {name: parameter.annotation for name, parameter in parameters_of(target).items()}
        fill_defaults(node, target)
        expected = (NoClass,)
    for name in range(len(node)) if is_list else list(node):
        if not OmegaConf.is_interpolation(node, name) and not OmegaConf.is_missing(node, name):
            inside = (tuple(classes(annotations[name])) or (NoClass,)) if name in annotations else expected
            check_node(node._get_node(name), f"{key}[{name}]" if is_list else f"{key}.{name}", inside)


def classes(annotation: Any) -> Iterator[Any]:
    """List the classes that components under an annotation may be of, such as the values of a mapping."""
    if is_component(annotation):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from classes(argument)


def check_class(target: type, key: str, expected: tuple[Any, ...]) -> None:
    """Refuse a class that is of none of the expected kinds; without an expectation any class will do.

    Raises:
        ConfigError: With the kind and what the class lacks of it; or where no class is expected.
    """
    if expected == (NoClass,):
        where = f"{target.__module__}.{target.__name__}"
        raise ConfigError(f"{key}: expected a value, got the class {where}; its annotation names no kind of component")
    faults = [fault(target, kind) for kind in expected]
    if faults and all(faults):
        kind = " or ".join(kind.__name__ for kind in expected)
        raise ConfigError(
            f"{key}._target_: expected a class of kind {kind}, {target.__module__}.{target.__name__} {faults[0]}"
        )


def fault(target: type, kind: Any) -> str:
    """Describe what a class lacks of a protocol or base class; empty where it lacks nothing."""
    if not getattr(kind, "_is_protocol", False):
        return "" if issubclass(target, kind) else f"is no {kind.__name__}"
    for name, method in methods(kind).items():
        own = next((vars(base)[name] for base in inspect.getmro(target) if name in vars(base)), None)
        if not callable(own):
            return f"has no {name}()"
        names = [p.name for p in inspect.signature(method).parameters.values()]
        try:
            inspect.signature(own).bind(*names)
        except TypeError:
            return f"has a {name}() that does not take ({', '.join(names[1:])})"
        except ValueError:
            continue  # written in C, without a signature
    return ""


def methods(protocol: Any) -> dict[str, Any]:
    """List a protocol's methods."""
    inherited = ("__init__", "__subclasshook__", "__class_getitem__")
    return {name: item for name, item in vars(protocol).items() if inspect.isfunction(item) and name not in inherited}


def fill_defaults(node: DictConfig, target: type) -> None:
    """Add the constructor's own defaults, so that a run's record is complete and its hash follows a changed default.

    What ``**arguments`` passes on, such as Lightning's settings, is left to whom it belongs.
    """
    own = inspect.signature(target).parameters
    with open_dict(node):
        for name, parameter in parameters_of(target).items():
            if holds(node, name) or name not in own or parameter.required or any(classes(parameter.annotation)):
                continue
            default = parameter.default
            if isinstance(default, tuple):
                node[name] = list(default)
            elif isinstance(default, PRIMITIVES) or (default is None and is_setting(parameter.annotation)):
                node[name] = default


def is_setting(annotation: Any) -> bool:
    """Return whether a parameter without value is a setting; a folder or the whole configuration is handed over."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return all(is_setting(kind) for kind in arguments)
    if origin in (typing.Annotated, Sequence, list, tuple):
        return is_setting(arguments[0])
    return origin is typing.Literal or annotation in (*PRIMITIVES, type(None))
