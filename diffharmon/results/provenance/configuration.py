"""The part of a configuration that decides results, its digest, and what differs between two."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffharmon.files import ASSETS

LENGTH = 12  # hexadecimal digits: enough for the few million files of the largest studies
# What decides neither an image nor a number: a change here leaves earlier rows valid.
NOT_HASHED = ("name", "trainer", "logger", "hydra", "experiment", "shard", "side_pictures", "dry_run", "device")
SHOWN = ("word_maps",)  # of the method: pictures for people, not results
# What decides besides the method, which holds its own copy of every group that it uses.
BESIDE_METHOD = ("dataset", "method", "metrics", "seed")


def digest_of(text: str | bytes) -> str:
    """Digest text or bytes."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:LENGTH]


def portable(value: Any) -> Any:
    """Spell paths of the embedded assets as ``${asset:NAME}``, so that no digest depends on the install path."""
    if isinstance(value, Mapping):
        return {key: portable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(inner) for inner in value]
    if isinstance(value, str) and Path(value).is_relative_to(ASSETS):
        return f"${{asset:{Path(value).relative_to(ASSETS).as_posix()}}}"
    return value


def deciding_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved configuration that can change a result, each setting once.

    Groups that the method does not use decide nothing. Those that it uses stand in it and beside it: only the latter
    are returned.
    """
    part = {key: value for key, value in portable(config).items() if key not in NOT_HASHED}
    method = part.get("method")
    if isinstance(method, Mapping):
        part = {key: value for key, value in part.items() if key in BESIDE_METHOD or key in method}
        kept = {key: value for key, value in method.items() if key not in SHOWN}
        part["method"] = {key: value for key, value in kept.items() if key not in part or part[key] != value}
    if isinstance(part.get("dataset"), Mapping):
        # Which images are taken does not change what becomes of each.
        part["dataset"] = {key: value for key, value in part["dataset"].items() if key != "limit"}
    return part


def config_hash(config: Mapping[str, Any]) -> str:
    """Digest everything in the resolved configuration that can change a result."""
    return digest_of(json.dumps(deciding_part(config), sort_keys=True, default=str))


def differences(former: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """List the full keys whose values differ and can change a result, as ``sampler.steps: 3 -> 4``."""
    before, after = (dict(leaves(deciding_part(config))) for config in (former, present))
    keys = [*before, *(key for key in after if key not in before)]
    absent = "absent"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in keys
        if before.get(key, absent) != after.get(key, absent)
    ]


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Walk all values of nested mappings with their full keys; a list is one value."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value
