"""Validation of a whole configuration, as far as possible before anything heavy is imported.

First every key and value is checked against the constructors' source (`diffharmon.config.signatures`). Only then the
classes are imported: that they are of the right kind is checked on the classes themselves, and so is what their source
alone does not show.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from diffharmon.config.choices import FORMER_KEYS, MULTIPLE, choices_of, nearest
from diffharmon.config.kinds import KINDS, check_kinds, load_target
from diffharmon.config.recommended import KEY as RECOMMENDED
from diffharmon.config.recommended import USES
from diffharmon.config.signatures import Parameter, Parameters, declared_parameters, parameters_of
from diffharmon.config.source import UNKNOWN
from diffharmon.config.values import Mismatch, fit, holds, shown
from diffharmon.errors import ConfigError


@dataclass(frozen=True)
class Layout:
    """What stands at the top level of a configuration.

    Attributes:
        settings: Types of the plain settings.
        groups: Keys of the components.
        required: Whether each of them has to be there; a training recipe has what it needs.
    """

    settings: Mapping[str, Any]
    groups: tuple[str, ...]
    required: bool = True


RUN = Layout(
    {
        "name": str,
        "seed": Annotated[int, Ge(0)],
        "shard": str | None,
        "side_pictures": bool,
        "dry_run": bool,
        "device": str | float | None,
    },
    (*KINDS, "trainer"),
)
COUNT = Annotated[int, Ge(1)]
THREADS = Annotated[int, Ge(1), Le(1024)]
DESCRIBE = Layout(
    {"name": str, "seed": Annotated[int, Ge(0)], "workers": THREADS, "descriptions": COUNT, "output": str | None},
    ("dataset", "describer"),
)


def validate(config: DictConfig, layout: Layout | None = None) -> None:
    """Check a configuration, and give every component the types and the defaults that its constructor declares.

    Args:
        config: As composed; interpolations are resolved for checking and stay as they are.
        layout: What stands at its top level; None checks the components alone.

    Raises:
        ConfigError: Unknown key, wrong type or choice, value out of bounds, missing value or unsuitable class, with its
            full key.
    """
    if layout is not None:
        check_groups(config, layout)
    unread = []
    for key, node in components(config):
        parameters = declared_parameters(target_of(key, node))
        if parameters is None:
            unread.append((key, node))
        else:
            check_component(key, node, parameters)
    for key, node in unread:
        check_component(key, node, parameters_of(load_target(target_of(key, node), key)))
    check_kinds(config, layout.groups if layout else ())


def check_top_level(config: DictConfig, layout: Layout) -> None:
    """Check the plain settings, and that every group has a choice.

    Raises:
        ConfigError: With the key.
    """
    known = [*layout.settings, *layout.groups]
    for name in map(str, config):
        if name not in known:
            raise unknown_key(name, known, config._get_node(name))
    for name, kind in layout.settings.items():
        check_setting("", config, name, Parameter(kind, layout.required))
    for group in layout.groups:
        chosen = config.get(group)
        single = isinstance(chosen, DictConfig) and "_target_" in chosen
        if (chosen is None and layout.required) or (group not in MULTIPLE and not single):
            settings = "settings without a choice" if isinstance(chosen, DictConfig) else shown(chosen)
            got = "nothing" if chosen is None else settings
            raise ConfigError(f"{group}: expected one of {', '.join(choices_of(group))}, got {got}")


def check_groups(config: DictConfig, layout: Layout) -> None:
    """Check what stands at the top level, the parts of the groups that have several, and what choices recommend.

    Raises:
        ConfigError: With the full key.
    """
    check_top_level(config, layout)
    for group in set(MULTIPLE) & set(layout.groups):
        for name in map(str, config[group]):
            check_part(group, name, config[group][name])
    for group in USES.keys() & set(layout.groups):
        fill_recommended(config[group], group, USES[group])


def components(config: Any, key: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Walk all nodes that have a ``_target_``, with their full keys; interpolated nodes are met where they stand."""
    if isinstance(config, DictConfig) and "_target_" in config:
        yield key, config
    for path, name in children(config, key):
        if not OmegaConf.is_interpolation(config, name) and not OmegaConf.is_missing(config, name):
            yield from components(config._get_node(name), path)


def children(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """List the full keys and the names or numbers of what a node holds."""
    if isinstance(node, ListConfig) and not node._is_none():
        yield from ((f"{key}[{number}]", number) for number in range(len(node)))
    elif isinstance(node, DictConfig) and not node._is_none():
        yield from ((f"{key}.{name}" if key else name, name) for name in map(str, node))


def target_of(key: str, node: DictConfig) -> str:
    """Return a node's ``_target_``.

    Raises:
        ConfigError: It is no name of a class in a module.
    """
    target = resolved(f"{key}._target_", node, "_target_")
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")) or "." not in target:
        raise ConfigError(f"{key}._target_: expected module.Class, got {target!r}")
    return target


def check_component(key: str, node: DictConfig, parameters: Parameters) -> None:
    """Check a node's keys and values against what its class can be built with.

    Raises:
        ConfigError: With the full key.
    """
    described = {"_target_", RECOMMENDED} if key in USES else {"_target_"}
    for name in map(str, node):
        if name not in parameters and name not in described:
            raise unknown_key(f"{key}.{name}", parameters)
    for name, parameter in parameters.items():
        check_setting(key, node, name, parameter)


def check_setting(key: str, node: DictConfig, name: str, parameter: Parameter) -> None:
    """Check one setting, and write it back where the declared type is another: 3 for a float is 3.0.

    Raises:
        ConfigError: With the full key.
    """
    path = f"{key}.{name}" if key else name
    given = holds(node, name)
    if not given and (parameter.required or OmegaConf.is_missing(node, name)):
        raise ConfigError(f"{path}: a value is required, none was given")
    if not given or parameter.annotation is UNKNOWN:
        return
    value = resolved(path, node, name)
    try:
        fitted = fit(value, parameter.annotation)
    except Mismatch as mismatch:
        raise ConfigError(
            f"{path}{mismatch.place}: expected {mismatch.expected}, got {shown(mismatch.value)}"
        ) from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from error
    if type(fitted) is not type(value):
        with open_dict(node):
            node[name] = fitted


def resolved(path: str, node: DictConfig, name: str) -> Any:
    """Return a setting with its interpolations resolved.

    Raises:
        ConfigError: An interpolation names what is not there.
    """
    try:
        return node[name]
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}{missing_step(node, name)}") from error


def missing_step(node: DictConfig, name: str) -> str:
    """Name the key that is nearest to the one that an interpolation does not find."""
    text = str(OmegaConf.to_container(node, resolve=False)[name])  # type: ignore[index, call-overload]
    for reference in re.findall(r"\$\{([\w.]+)\}", text):
        place: Any = node._get_root()
        for step in reference.split("."):
            if isinstance(place, DictConfig) and step not in place:
                return nearest(step, map(str, place))
            place = OmegaConf.select(place, step) if isinstance(place, DictConfig) else None
    return ""


def unknown_key(path: str, known: Iterable[str], node: Any = None) -> ConfigError:
    """Describe an unknown key with the known one that is meant; ``node`` is what stands there."""
    inside = [f"{path}.{name}" for name in map(str, node)] if isinstance(node, DictConfig) else []
    path = next((key for key in inside if key in FORMER_KEYS), path)
    former = FORMER_KEYS.get(path)
    meant = f"; {former} is meant" if former else nearest(path.rpartition(".")[2], known)
    return ConfigError(f"{path}: unknown key{meant}")


def fill_recommended(node: DictConfig, group: str, use: type) -> None:
    """Check what a choice recommends and complete it by the defaults.

    Raises:
        ConfigError: With the full key.
    """
    given = resolved(f"{group}.{RECOMMENDED}", node, RECOMMENDED) if RECOMMENDED in node else OmegaConf.create({})
    if not isinstance(given, DictConfig):
        raise ConfigError(f"{group}.{RECOMMENDED}: expected a mapping, got {given!r}")
    check_component(f"{group}.{RECOMMENDED}", given, parameters_of(use))
    with open_dict(node):
        node[RECOMMENDED] = {name: p.default for name, p in parameters_of(use).items()} | dict(given)


def check_part(group: str, name: str, part: Any) -> None:
    """Refuse what a group of parts holds besides the parts that were chosen.

    Raises:
        ConfigError: With the way to choose a part, or to leave it out.
    """
    if isinstance(part, DictConfig) and "_target_" in part:
        return
    key = f"{group}.{name}"
    if key in FORMER_KEYS:
        raise unknown_key(key, (), part)
    if part is None:
        raise ConfigError(f"{key}: expected settings, got null; ~{key} leaves the part out")
    if isinstance(part, str):
        raise ConfigError(f"{key}: expected settings, got {part!r}; {group}=[...,{part}] chooses a part")
    raise ConfigError(f"{key}: settings of a part that is not chosen; choose it in {group}=[...], or remove them")
