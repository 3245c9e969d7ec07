"""Configuration: composing, validating before anything loads, building by ``_target_``.

A component's constructor is the only declaration of its parameters. A mistyped key or a wrong type is refused with its
full key, also when it stands in an experiment file, which Hydra alone would let pass.
"""

from diffharmon.config.building import build as build
from diffharmon.config.choices import explain as explain
from diffharmon.config.choices import prepare_overrides as prepare_overrides
from diffharmon.config.composing import composed as composed
from diffharmon.config.composing import prepare as prepare
from diffharmon.config.folders import CONFIG_FOLDER as CONFIG_FOLDER
from diffharmon.config.folders import register_resolvers as register_resolvers
from diffharmon.config.kinds import load_target as load_target
from diffharmon.config.validation import DESCRIBE as DESCRIBE
from diffharmon.config.validation import Layout as Layout
from diffharmon.config.validation import components as components
from diffharmon.config.validation import validate as validate
