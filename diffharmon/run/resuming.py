"""Continuing in a run's folder: what is done and still valid, what changed since, what must not be mixed."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from diffharmon.errors import InputError
from diffharmon.protocols import Dataset
from diffharmon.results import digest_of, picture_folder, read_rows
from diffharmon.results.provenance.configuration import config_hash, differences
from diffharmon.results.provenance.inputs import Resumed, compare, image_digests, words_digest
from diffharmon.results.provenance.weights import file_digest

log = logging.getLogger(__name__)


def finished_rows(folder: Path, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the rows of the images that a former run with the same configuration finished, by name.

    Raises:
        InputError: The folder holds rows of another configuration, which must not be mixed; it names the keys.
    """
    digest = config_hash(config)
    rows = read_rows(folder, log_damaged=True)
    others = {digest_of(row) for row in rows} - {digest}
    if others:
        changed = differences(former_config(folder), config)
        keys = f": {'; '.join(changed[:8])}{'; ...' if len(changed) > 8 else ''}" if changed else ""
        raise InputError(
            f"{folder} holds results of another configuration ({', '.join(sorted(others))}), this one is "
            f"{digest}{keys}; expected a new hydra.run.dir, or the former configuration"
        )
    return {row["name"]: row for row in rows if row["status"] == "ok"}


def former_config(folder: Path) -> dict[str, Any]:
    """Read the configuration that a run recorded; empty where it cannot be read."""
    try:
        return dict(json.loads((folder / "run.json").read_text(encoding="utf-8"))["config"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def word_digests(config: DictConfig, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Digest the words that a file has for each image; empty for a describer that makes its own."""
    from diffharmon.config import build, load_target

    node = config.get("describer")
    if node is None or "describer" not in config.method:
        return {}
    if not hasattr(load_target(str(node["_target_"]), "describer"), "prepared"):
        return {}
    describer, found = build(node), {}
    for name in names:
        try:
            found[name] = {"words": words_digest(describer.prepared(name))}
        except Exception:
            continue  # becomes the image's row when it is described
    return found


def resume(
    folder: Path,
    config: Mapping[str, Any],
    dataset: Dataset,
    words: Mapping[str, Mapping[str, str]],
    weights: str,
    share: Sequence[int] | None = None,
) -> Resumed:
    """Compare what a former run finished in this folder with its inputs as they are now.

    Args:
        folder: The run's folder.
        config: The resolved configuration.
        dataset: All images.
        words: Digests of prepared words by name.
        weights: Digest of the weights.
        share: Indices of the images to look at; None takes all.

    Raises:
        InputError: The folder holds rows of another configuration.
    """
    rows = finished_rows(folder, config)
    present = {}
    for index in range(len(dataset)) if share is None else share:
        name = dataset.name(index)
        if name in rows:
            try:
                inputs = image_digests(dataset, index)
            except Exception:
                continue  # becomes the image's row when it is read
            found = {**inputs, **words.get(name, {}), "weights": weights}
            result = next(picture_folder(folder, rows[name]).glob("harmonized.*"), None)
            present[name] = found if result is None else {**found, "result": file_digest(result)}
    return compare([rows[name] for name in present], present)
