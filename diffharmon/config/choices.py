"""Choosing parts: overrides before composing, and what a choice that does not exist should have been."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig

from diffharmon.config.folders import CONFIG_FOLDER
from diffharmon.errors import ConfigError

GROUPS = frozenset(path.name for path in CONFIG_FOLDER.iterdir() if path.is_dir())
# Groups of which any number of parts is chosen, as a list.
MULTIPLE = ("structure", "embedding", "metrics", "logger")
# Choices of these groups before they became lists, and the same choice now.
FORMER_CHOICES = {
    "structure": {
        "none": "[]",
        "attention": "[cross_attention,self_attention]",
        "anchor": "[cross_attention,self_attention]",
        "sobel": "[cross_attention,self_attention,sobel]",
        "pidinet": "[cross_attention,self_attention,pidinet]",
        "paper": "[cross_attention,self_attention,sobel,pidinet]",
    },
    "embedding": {"none": "[]", "text": "[text_refine]", "paper": "[text_refine,null_text]"},
    "metrics": {"full": "[full,clip]", "ihd256": "[ihd256,clip]"},
    "logger": {"none": "[]", "wandb_csv": "[wandb,csv]", "many": "[wandb,tensorboard,csv]"},
}
# Choices of before in groups of one choice, and the same choice now.
RENAMED_CHOICES = {("evaluator", "clip_score"): "clip"}
# Keys of before, and where the same is set now.
FORMER_KEYS = {
    "backbone.steps": "sampler.steps",
    "backbone.inversion": "sampler.inversion",
    "structure.anchor": "sampler.direct_inversion",
    "embedding.null": "embedding.unconditional",
    "prior": "backbone.recommended",
    "prior.anchor_carry": "backbone.recommended.target_correction",
    "judge": "evaluator.recommended",
    "judge.enough": "evaluator.recommended.skip_above",
    "describer.least": "describer.min_difference",
    "threads": "trainer.threads",
    "backbone_steps": "sampler.steps",
    "clip_score": "metrics=[...,clip]",
    "structure.anchor.carry": "sampler.target_correction",
    "method.policy.enough": "evaluator.recommended.skip_above",
    "dataset.hardest": "dataset.min_psnr",
    "dataset.mildest": "dataset.max_psnr",
    "dataset.smallest": "dataset.min_area",
    "dataset.largest": "dataset.max_area",
    # Departures of the public code, which only the classes of that experiment have.
    **dict.fromkeys(
        (
            *("backbone.channels_last", "sampler.shifted", "method.resolution", "method.sample_posterior"),
            *("method.seed_by_name", "method.structure_from", "method.truncate"),
            *("embedding.text.latents", "embedding.text.mask_antialias", "embedding.text.weighting"),
            *("embedding.unconditional.edges_on", "embedding.unconditional.stale_first"),
            *("structure.sobel.reference_range", "structure.pidinet.detach", "structure.pidinet.opaque"),
        ),
        "experiment=reference_quirks",
    ),
}
_VALUE = re.compile(r"(?P<key>[A-Za-z_][\w.]*)=")
_CHOICE = re.compile(rf"\+{{0,2}}({'|'.join(sorted(GROUPS))})=")
_AMBIGUOUS = re.compile(r"\s*Ambiguous value for argument '(.*)'\s*$", re.MULTILINE)
_PACKAGE = re.compile(r"# @package (\S+)")


def prepare_overrides(overrides: Sequence[str]) -> list[str]:
    """Check choices of parts, and let values be set that no YAML file lists.

    A YAML file lists only what differs from the constructor, so ``recomposer.strength=0.7`` sets a key that the
    composed configuration may not have yet. Hydra wants ``++`` for that; keys that no constructor has are refused by
    the validation.

    Raises:
        ConfigError: A group of several parts is given one name instead of a list, or two parts for the same slot; a
            group of one choice is given something else than a name.
    """
    overrides = [o for o in overrides if o not in ("experiment=null", "sweep=null")]  # Hydra's own defaults
    for text in overrides:
        if text.lstrip("+~").startswith("="):
            raise ConfigError(f"{text}: expected key=value, the key is missing")
    choosing = [o for o in overrides if _CHOICE.match(o)]
    for override in OverridesParser.create().parse_overrides(choosing):
        group = str(override.key_or_group)
        for choice in override.sweep_iterator() if override.is_sweep_override() else [override.value()]:
            check_choice(group, choice)
        if override.is_add() and any(o.startswith(f"{group}=") for o in choosing):
            raise ConfigError(f"{group}: +{group}=[...] adds to the default parts; put all into {group}=[...] instead")
    return [set_or_add(override) for override in overrides]


def set_or_add(override: str) -> str:
    """Put ``++`` before an override of a value; choices of a group and Hydra's own settings stay as they are."""
    match = _VALUE.match(override)
    plain = match is None or match["key"] in GROUPS or match["key"].startswith("hydra.")
    return override if plain else f"++{override}"


def check_choice(group: str, choice: Any) -> None:
    """Refuse what is no list of parts, and two parts that fill the same slot; of other groups, what is no name.

    Raises:
        ConfigError: With the list that was meant, or the choices.
    """
    if group not in MULTIPLE:
        if not isinstance(choice, str):
            got = "null" if choice is None else choice
            raise ConfigError(f"{group}={got}: expected one of {', '.join(choices_of(group))}")
        return
    if isinstance(choice, str) and choice.startswith("[") and choice.endswith("]"):
        choice = [name.strip() for name in choice[1:-1].split(",")]
    if not isinstance(choice, list):
        raise ConfigError(f"{group}={choice}: expected a list of parts, here {group}={as_list(group, choice)}")
    if not all(isinstance(name, str) for name in choice):
        raise ConfigError(f"{group}={choice}: expected names, such as {', '.join(choices_of(group))}")
    slots: dict[str, str] = {}
    for name in choice:
        slot = package(group, name)
        if slots.setdefault(slot, name) != name:
            raise ConfigError(f"{group}: {slots[slot]} and {name} both are {slot}; expected one of them")


def as_list(group: str, choice: Any) -> str:
    """Spell a choice as a list: what it meant before, else a list of it alone."""
    return "[]" if choice is None else FORMER_CHOICES[group].get(str(choice), f"[{choice}]")


def package(group: str, name: str) -> str:
    """Read where a part's settings go; a part of another package is taken to have a slot of its own."""
    path = CONFIG_FOLDER / group / f"{name}.yaml"
    match = _PACKAGE.match(path.read_text(encoding="utf-8")) if path.is_file() else None
    return match[1] if match else f"{group}.{name}"


def refuse_single_choices(choices: Mapping[str, Any]) -> None:
    """Refuse a single name for a group of several parts, wherever it was chosen.

    Args:
        choices: Hydra's record of choices, which has lists of parts nowhere and single names always.

    Raises:
        ConfigError: With the list that was meant.
    """
    for group in MULTIPLE:
        if choices.get(group) is not None:
            check_choice(group, choices[group])


def explain(error: Exception) -> Exception:
    """Turn Hydra's errors about choices and about its grammar into one line; any other error stays as it is."""
    if isinstance(error, OverrideParseException):
        return ConfigError(f"{error.override.lstrip('+~')}: {expected_quotes(error.override.lstrip('+~'))}")
    if ambiguous := _AMBIGUOUS.match(str(error)):
        key, _, value = ambiguous[1].lstrip("+").partition("=")
        return ConfigError(
            f"{key}={value}: commas separate the jobs of a sweep; expected {key}=[{value}] for a list, "
            f"{quoted(key, value)} for one value, or -m for a sweep"
        )
    if not isinstance(error, MissingConfigException) or "/" not in str(error.missing_cfg_file):
        lines = str(error).split("\n")
        return ConfigError(" ".join(lines)) if isinstance(error, HydraException) and len(lines) > 1 else error
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if (group, name) in RENAMED_CHOICES:
        return ConfigError(f"{group}={name}: there is no such choice; {RENAMED_CHOICES[group, name]} is meant")
    if name in FORMER_CHOICES.get(group, {}):
        return ConfigError(f"{group}={name}: expected a list of parts, here {group}={as_list(group, name)}")
    known = error.options or choices_of(group)
    return ConfigError(f"{group}={name}: there is no such choice{nearest(name, known)}")


def expected_quotes(override: str) -> str:
    """Name what Hydra's grammar expects in place of an override that it cannot parse."""
    key, equals, value = override.partition("=")
    if not equals:
        example = quoted("dataset.image", "photo (1).png")
        return f"expected key=value; a value with spaces needs quotes inside those of the shell: {example}"
    try:
        OverridesParser.create().parse_override(f"{key}='{escaped(value)}'")
    except HydraException:
        return "expected a key of letters, digits, dots and underscores in front of ="
    return f"a value with spaces, brackets or quotes needs quotes inside those of the shell: {quoted(key, value)}"


def quoted(key: str, value: str) -> str:
    """Spell an override as it is typed in a shell, its value as one string in Hydra's grammar."""
    override = f"{key}='{escaped(value)}'"
    return '"{}"'.format(re.sub(r'(["$`\\])', r"\\\1", override))


def escaped(value: str) -> str:
    """Escape what would end a string in Hydra's grammar: quotes, and backslashes in front of one."""
    return re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)


def choices_of(group: str) -> list[str]:
    """List a group's choices; those of other packages are not among them."""
    return sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml"))


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known spelling that is nearest to a mistyped one, else all of them."""
    known = list(known)
    found = difflib.get_close_matches(name, known, 1)
    if found:
        return f"; did you mean {found[0]}?"
    return f"; expected one of {', '.join(known)}" if known else ""


def recorded_choices(config: DictConfig) -> dict[str, Any]:
    """Return what was chosen in each configuration group; empty where the run was not started by Hydra.

    Hydra keeps no record of lists of parts: they are read off the overrides, or else are the names of their slots.
    Parts taken away from a given list stand behind it, as on the command line.
    """
    if not HydraConfig.initialized():
        return {}
    hydra_config = HydraConfig.get()
    found = {name: choice for name, choice in hydra_config.runtime.choices.items() if not name.startswith("hydra/")}
    overrides = hydra_config.overrides.task
    given = dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
    for group in MULTIPLE:
        removed = [override for override in overrides if override.startswith(f"~{group}.")]
        slots = f"[{','.join(map(str, config[group]))}]"
        found[group] = " ".join([given[group], *removed]) if group in given else slots
    return found
