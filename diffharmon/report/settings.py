"""What a run was set to, by group choice or configuration key, and what tables call it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from diffharmon.errors import InputError
from diffharmon.report.runs import Run, study_of
from diffharmon.results.provenance.configuration import NOT_HASHED

LABEL = "run"
SUBSET = "subset"
MISSING = "–"


def read_names(path: Path) -> dict[str, str]:
    """Read the names that tables use instead of settings, a YAML mapping; its order is the order of the lines.

    Raises:
        InputError: The file cannot be read or is no mapping of texts.
    """
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"--names {path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, Mapping) or not found or any(isinstance(v, (Mapping, list)) for v in found.values()):
        raise InputError(f"--names {path}: expected lines such as 'mkl: Linear Monge-Kantorovich', one per setting")
    return {str(key): str(value) for key, value in found.items()}


def setting(run: Run, key: str) -> str | None:
    """Return a run's label, group choice or configuration value as text; None where it has none.

    A list of choices is joined by ``+``, an empty one is ``none``.
    """
    if key == LABEL:
        return without_seed(run)
    if key in run.choices:
        return as_text(run.choices[key])
    value: Any = run.config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return as_text(value)


def as_text(value: Any) -> str:
    """Format a setting; a component by its class, several by their names."""
    if isinstance(value, Mapping) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    if isinstance(value, (Mapping, list, tuple)):
        return "+".join(map(str, value)) or "none"
    text = "none" if value is None else str(value)
    if text.startswith("[") and text.endswith("]"):  # Hydra records a list of choices as its text.
        return "+".join(part.strip(" '\"") for part in text[1:-1].split(",") if part.strip()) or "none"
    return text


def without_seed(run: Run) -> str:
    """Return a run's label without its seed."""
    label = " ".join(re.sub(r"(^|(?<=\s))seed=\S+", "", run.label).split())
    return label.rstrip(": ") or study_of(run)


def check_key(runs: Sequence[Run], key: str, option: str) -> None:
    """Refuse a key that no run has.

    Raises:
        InputError: With the choices that could have been meant.
    """
    if key == SUBSET or any(setting(run, key) is not None for run in runs):
        return
    known = [LABEL, SUBSET, *dict.fromkeys(name for run in runs for name in (*run.choices, *run.config))]
    raise InputError(f"{option} {key}: no run has it; expected a key of the configuration or one of {', '.join(known)}")


def leaves(value: Any, key: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the dotted keys and values of a configuration, without seeds and what cannot change a result."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            if name != "seed" and not (not key and name in NOT_HASHED):
                yield from leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def differences(runs: Sequence[Run]) -> list[str]:
    """Return what runs differ in besides the seed: group choices where they explain it, else configuration keys."""
    configs = [dict(leaves(run.config)) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    missing = object()
    found = [key for key in keys if any(c.get(key, missing) != configs[0].get(key, missing) for c in configs)]
    if not found:
        return []
    groups = dict.fromkeys(name for run in runs for name in run.choices if name not in NOT_HASHED)
    return [name for name in groups if len({setting(run, name) for run in runs}) > 1] or found


def is_baseline(run: Run) -> bool:
    """Return whether a run used no network to change images: none cost a network evaluation."""
    return bool(run.rows) and not any(row.get("network_samples") for row in run.rows.values())
