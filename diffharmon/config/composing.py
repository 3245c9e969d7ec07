"""Composing a configuration and checking it before anything loads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from diffharmon.config.choices import explain, prepare_overrides, refuse_single_choices
from diffharmon.config.folders import register_resolvers
from diffharmon.config.validation import RUN, Layout, validate


def composed(overrides: Sequence[str], values: Mapping[str, Any] = MappingProxyType({})) -> DictConfig:
    """Compose and validate a configuration from Python, as the command would.

    Args:
        overrides: As on the command line.
        values: Set after composing, by full key: for paths and other text that Hydra's grammar would have to quote.

    Raises:
        ConfigError: As ``prepare``, or a choice does not exist.
    """
    try:
        with _apart(), initialize_config_module("diffharmon.conf", version_base="1.3"):
            config = compose("config", overrides=prepare_overrides(overrides), return_hydra_config=True)
    except HydraException as error:
        explained = explain(error)
        raise explained from (None if explained is error else error)
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
        for key, value in values.items():
            OmegaConf.update(config, key, value, merge=False)
    return prepare(config, choices)


@contextmanager
def _apart() -> Iterator[None]:
    """Set the Hydra of the program around us aside: it holds one configuration at a time."""
    theirs, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = theirs


def prepare(config: DictConfig, choices: Mapping[str, Any], layout: Layout = RUN) -> DictConfig:
    """Validate a composed configuration before anything loads.

    Args:
        config: As Hydra composed it; gets the types and the defaults that constructors declare.
        choices: Hydra's record of choices, ``hydra.runtime.choices``.
        layout: What stands at the top level.

    Raises:
        ConfigError: Naming the key.
    """
    register_resolvers()
    refuse_single_choices(choices)
    validate(config, layout)
    return config
