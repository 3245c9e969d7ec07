"""Checking a setting's value against the type and bounds that a constructor declares."""

import collections.abc
import math
import sys
import types
import typing
from typing import Any

import annotated_types
from omegaconf import DictConfig, ListConfig

from diffharmon.config.source import COMPONENT, UNKNOWN

PRIMITIVES = (int, float, bool, str)
BOUNDS = {
    annotated_types.Ge: ("ge", lambda value, bound: value >= bound, "at least {}"),
    annotated_types.Gt: ("gt", lambda value, bound: value > bound, "more than {}"),
    annotated_types.Le: ("le", lambda value, bound: value <= bound, "at most {}"),
    annotated_types.Lt: ("lt", lambda value, bound: value < bound, "less than {}"),
    annotated_types.MultipleOf: ("multiple_of", lambda value, bound: value % bound == 0, "a multiple of {}"),
    annotated_types.MinLen: ("min_length", lambda value, bound: len(value) >= bound, "length at least {}"),
    annotated_types.MaxLen: ("max_length", lambda value, bound: len(value) <= bound, "length at most {}"),
}
PLURALS = {int: "whole numbers", float: "numbers"}
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", None: "null"}


class Mismatch(Exception):
    """A value that does not fit.

    Attributes:
        place: Where in the value, such as ``[2]``; empty for the value itself.
        expected: What was expected.
        value: What was given there.
    """

    def __init__(self, expected: str, value: Any, place: str = "") -> None:
        super().__init__(expected)
        self.expected, self.value, self.place = expected, value, place


def holds(node: DictConfig, name: str) -> bool:
    """Return whether a node has a value under a name.

    Most settings are absent, and for each of those OmegaConf's own ``in`` takes the time to word an error.
    """
    return name in node.keys() and name in node  # noqa: SIM118


def fit(value: Any, kind: Any) -> Any:
    """Return a value in the type that is declared: 3 for a float is 3.0, and "3" from the environment is 3.

    Args:
        value: A resolved setting: a primitive, None, or a node.
        kind: An annotation.

    Raises:
        Mismatch: The value has another type, or is out of bounds.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return bounded(value, arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        return fit_one_of(value, arguments)
    if origin is typing.Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise Mismatch(describe(kind), value)
    if kind is None or kind is type(None):
        if value is None:
            return None
        raise Mismatch(describe(kind), value)
    if kind in PRIMITIVES:
        return fit_primitive(value, kind)
    if (origin or kind) in (collections.abc.Sequence, list, tuple):
        return fit_items(value, kind, arguments)
    if (origin or kind) in (collections.abc.Mapping, dict) and not isinstance(value, DictConfig):
        raise Mismatch("a mapping", value)
    if is_component(kind) and not isinstance(value, DictConfig):
        raise Mismatch(describe(kind), value)
    return value


def is_component(kind: Any) -> bool:
    """Return whether a type is a class of some package, which YAML writes as a node with ``_target_``."""
    top = str(getattr(kind, "__module__", "")).split(".")[0]
    return kind is COMPONENT or (isinstance(kind, type) and kind is not UNKNOWN and top not in sys.stdlib_module_names)


def fit_primitive(value: Any, kind: Any) -> Any:
    """Return a value as a number, a truth value or text."""
    if isinstance(value, str) and kind is not str:
        value = parsed(value, kind)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is str and type(value) in (int, float):
        value = str(value)
    if type(value) is not kind or (kind is float and math.isnan(value)):
        raise Mismatch(describe(kind), value)
    if kind is int and not -(2**63) <= value < 2**63:
        raise Mismatch("a whole number of at most 64 bits", value)
    return value


def parsed(text: str, kind: Any) -> Any:
    """Read a number or truth value from text, such as that of an environment variable; other text stays."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text


def fit_items(value: Any, kind: Any, arguments: tuple[Any, ...]) -> Any:
    """Check a list's items; the list itself stays the node that it is, with its items in the declared type."""
    if not isinstance(value, ListConfig | list | tuple):
        raise Mismatch(describe(kind), value)
    items = list(value)
    fixed = typing.get_origin(kind) is tuple and ... not in arguments
    if fixed and len(items) != len(arguments):
        raise Mismatch(f"{len(arguments)} values", items)
    fitted = []
    for number, item in enumerate(items):
        try:
            fitted.append(fit(item, arguments[number if fixed else 0]) if arguments else item)
        except Mismatch as mismatch:
            raise Mismatch(mismatch.expected, mismatch.value, f"[{number}]{mismatch.place}") from None
    changed = any(type(old) is not type(new) for old, new in zip(items, fitted, strict=True))
    return fitted if changed else value


def fit_one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return a value in the first of several types that it already has, else in the first that it converts to."""
    mismatches = []
    for exact in (True, False):
        for kind in kinds:
            try:
                fitted = fit(value, kind)
            except Mismatch as mismatch:
                mismatches.append((kind, mismatch))
                continue
            if not exact or type(fitted) is type(value):
                return fitted
    # The most specific mismatch is that of a bound or an item; else all types are named.
    close = [m for kind, m in mismatches if m.place or m.expected != describe(kind)]
    raise close[0] if close else Mismatch(describe(typing.Union[kinds]), value)  # noqa: UP007 (of values)


def bounded(value: Any, kind: Any, bounds: tuple[Any, ...]) -> Any:
    """Check a value's type and bounds."""
    value = fit(value, kind)
    rules = [(BOUNDS[type(bound)], bound) for bound in bounds if type(bound) in BOUNDS]
    if value is None:
        return value
    if not all(holds(value, getattr(bound, name)) for (name, holds, _), bound in rules):
        words = [text.format(getattr(bound, name)) for (name, _, text), bound in rules]
        raise Mismatch(f"{describe(kind)}, {' and '.join(words)}", value)
    return value


def plain(kind: Any) -> Any:
    """Return a type without its bounds."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def shown(value: Any) -> str:
    """Show a value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return repr(value)


def describe(kind: Any) -> str:
    """Describe a type as a user would."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return describe(arguments[0])
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(argument) for argument in arguments))
    if (origin or kind) in (collections.abc.Sequence, list, tuple):
        return f"a list of {PLURALS.get(plain(arguments[0]), describe(arguments[0]))}" if arguments else "a list"
    return NAMES.get(None if kind is type(None) else kind, "a component (settings with _target_)")
