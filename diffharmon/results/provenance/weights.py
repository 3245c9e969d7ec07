"""Digests of files and model folders; a file that did not change is read once a process."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffharmon.files import ASSETS
from diffharmon.results.provenance.configuration import LENGTH, digest_of, portable

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pt2", ".pth", ".ckpt", ".onnx")
# What stands beside weights and decides results as much as they do.
BESIDE_WEIGHTS = (".json", ".txt")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def file_digest(path: Path) -> str:
    """Digest a file's bytes; a file that did not change is read once a process.

    Files of the hub's cache are named by their SHA-256 already and are not read at all.
    """
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name[:LENGTH]
    state = real.stat()
    return _read_digest(real, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=100_000)
def _read_digest(path: Path, size: int, modified: int, inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]


def folder_digest(folder: Path) -> str:
    """Digest a model folder: weights, configurations and vocabularies in it and one level below, by their paths."""
    files = sorted(
        path
        for pattern in ("*", "*/*")
        for path in folder.glob(pattern)
        if path.suffix.lower() in (*WEIGHT_SUFFIXES, *BESIDE_WEIGHTS) and path.is_file()
    )
    return digest_of("".join(f"{path.relative_to(folder).as_posix()} {file_digest(path)}\n" for path in files))


def weights_digest(config: Mapping[str, Any]) -> str:
    """Digest all weights that a run uses: local files and folders, and the hub's cached ones.

    What is used stands in the method, which holds every part of it, and in the metrics; the groups beside them may name
    models that this method has no use for. A hub model that was not downloaded yet has no digest until it is; call
    again once it is loaded.

    Args:
        config: The resolved configuration.
    """
    used = portable({name: config[name] for name in ("method", "metrics") if name in config})
    found = {
        key: folder_digest(path) if path.is_dir() else file_digest(path) for key, path in named_weights(used).items()
    }
    return digest_of(json.dumps(found, sort_keys=True))


def named_weights(value: Any, key: str = "", revision: str | None = None) -> dict[str, Path]:
    """Return where the weights lie that settings name, by their full keys; a ``revision`` beside one belongs to it."""
    if isinstance(value, Mapping):
        beside = value.get("revision")
        items = [(f"{key}.{name}", inner, beside) for name, inner in value.items() if name != "revision"]
    elif isinstance(value, (list, tuple)):
        items = [(f"{key}[{place}]", inner, revision) for place, inner in enumerate(value)]
    else:
        path = weights_path(value, revision) if isinstance(value, str) else None
        return {} if path is None else {key.removeprefix("."): path}
    return {name: path for place, inner, near in items for name, path in named_weights(inner, place, near).items()}


def weights_path(value: str, revision: str | None = None) -> Path | None:
    """Return where the weights lie that a setting names, a hub's in that revision; None for what names none."""
    if value.startswith("${asset:"):
        value = str(ASSETS / value.removeprefix("${asset:").removesuffix("}"))
    if "/" not in value and os.sep not in value and not value.lower().endswith(WEIGHT_SUFFIXES):
        return None  # A word, even where a folder of its name happens to lie here.
    try:
        path = Path(value).expanduser()
        if path.is_file():
            return path if path.suffix.lower() in WEIGHT_SUFFIXES else None
        if path.is_dir():
            holds = any(
                next(path.glob(f"{depth}*{suffix}"), None) for suffix in WEIGHT_SUFFIXES for depth in ("", "*/")
            )
            return path if holds else None
    except (OSError, ValueError):  # too long for a path, or with a null character
        return None
    return _cached_snapshot(value, revision) if HUB_ID.fullmatch(value) else None


def _cached_snapshot(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in ("model_index.json", "config.json"):
        found = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):
            return Path(found).parent
    return None
