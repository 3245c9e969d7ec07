"""Building components by ``_target_``."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, ListConfig

from diffharmon.config.capabilities import check_capabilities
from diffharmon.config.kinds import load_target
from diffharmon.config.recommended import KEY as RECOMMENDED
from diffharmon.errors import ConfigError, DiffharmonError, describe_error

# Keys that describe a choice and are no constructor arguments.
NOT_ARGUMENTS = ("_target_", RECOMMENDED)


def build(node: Any, **values: Any) -> Any:
    """Build a component with all components inside it; lists and mappings become plain Python ones.

    A component that several others name by interpolation, such as a backbone that also judges, is built once.

    Args:
        node: A node of a composed configuration.
        values: Constructor arguments that no configuration holds, such as the run's folder.

    Raises:
        ConfigError: A constructor refuses a setting; the message starts with the setting's full key. Or a part needs
            what the backbone beside it does not provide.
    """
    return _build(node, {}, values)


def _build(node: Any, built: dict[int, Any], values: Mapping[str, Any] = MappingProxyType({})) -> Any:
    if isinstance(node, ListConfig):
        return [_build(item, built) for item in node]
    if not isinstance(node, DictConfig):
        return node
    if id(node) not in built:  # the configuration outlives this call, so an id is not given twice
        built[id(node)] = _build_new(node, built, values)
    return built[id(node)]


def _build_new(node: DictConfig, built: dict[int, Any], values: Mapping[str, Any]) -> Any:
    if "backbone" in node and "_target_" in node:
        check_capabilities(node)
    content = {str(name): _build(node[name], built) for name in node if name not in NOT_ARGUMENTS}
    if "_target_" not in node:
        return content
    key = node._get_full_key(None)
    target = load_target(str(node["_target_"]), key)
    for name in values.keys() & content.keys():
        raise ConfigError(f"{key}.{name}: set by the run, not by the configuration")
    try:
        return target(**content, **values)
    except ConfigError as error:
        raise ConfigError(f"{key}.{error}" if re.split(r"\W", str(error))[0] in content else str(error)) from error
    except DiffharmonError:
        raise
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{key}: {describe_error(error)}") from error
    except Exception as error:  # whatever a constructor makes of a setting that it did not expect
        raise ConfigError(f"{key}: {type(error).__name__}: {' '.join(str(error).split())}") from error
