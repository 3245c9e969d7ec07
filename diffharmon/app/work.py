"""One photo of one visitor: harmonized into a folder that holds all that is shown and downloaded of it."""

import json
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffharmon.api.harmonizer import Harmonizer
from diffharmon.api.result import Result
from diffharmon.app.pictures import SHOWN, preview
from diffharmon.app.visits import RECORD
from diffharmon.config.choices import escaped
from diffharmon.files import write_text
from diffharmon.images import suffix_of, write_result
from diffharmon.results.panels import attention_overlay, write
from diffharmon.types import Watcher
from diffharmon.types.words import write_words

BEFORE = "before.jpg"
SETTINGS = {"colour": "dataset.colour", "seed": "seed", "variants": "method.variants", "object": "describer.object"}


@dataclass(frozen=True)
class Job:
    """What a visitor asks for.

    Attributes:
        composite: The photo, in the result's folder of uploads.
        mask: Its mask, in the same folder.
        settings: Arguments of the call of ``Harmonizer``.
        digest: What tells photo and mask from any other.
    """

    composite: Path
    mask: Path
    settings: Mapping[str, Any]
    digest: str = ""

    def asked(self) -> str:
        """Return what tells this job from any that gives another result."""
        return json.dumps([self.digest, dict(self.settings)])


def harmonize(
    harmonizer: Harmonizer, job: Job, folder: Path, max_megapixels: float, watch: Watcher, overrides: Sequence[str] = ()
) -> None:
    """Harmonize a photo and write the results, previews, attention maps and the record into a folder.

    Args:
        harmonizer: With its models loaded.
        job: The photo and the settings.
        folder: Where to write.
        max_megapixels: The largest number of pixels of a file in millions.
        watch: Follows the method.
        overrides: What the harmonizer was configured with, for the record.

    Raises:
        DiffharmonError: As a call of ``Harmonizer``, or ``watch`` ended it.
    """
    begun = time.perf_counter()
    result = harmonizer(job.composite, job.mask, **job.settings, max_megapixels=max_megapixels, watch=watch)
    save_jpeg(result.composite.image, folder / BEFORE, result)
    variants = [write_variant(variant, number, folder, watch) for number, variant in enumerate(result.variants)]
    maps = {f"attention_{number:02d}.png": word for number, word in enumerate(result.attention)}
    for name, word in maps.items():
        write(folder / name, attention_overlay(result.composite.image, result.attention[word]))
    best = next(number for number, one in enumerate(result.variants) if one.harmonized is result.harmonized)
    record = {
        "composite": job.composite.name,
        "mask": job.mask.name,
        "best": best,
        "reason": result.reason,
        "seconds": round(time.perf_counter() - begun, 2),
        "depth": result.composite.depth,
        "variants": variants,
        "attention": maps,
        "settings": dict(job.settings),
        "asked": job.asked(),
        "command": command_of(harmonizer, job, overrides),
    }
    write_text(folder / RECORD, json.dumps(record, indent=1))


def write_variant(result: Result, number: int, folder: Path, watch: Watcher) -> dict[str, Any]:
    """Write one result at the photo's depth with its preview; return its entry in the record."""
    with watch.stage("Writing the results"):
        path = folder / f"variant_{number:02d}{suffix_of(result.composite)}"
        write_result(path, result.composite, result.harmonized)
        save_jpeg(result.harmonized, path.with_suffix(".jpg"), result)
    words = result.words
    return {
        "file": path.name,
        "foreground": write_words(words.foreground, words.foreground_weights),
        "background": write_words(words.background, words.background_weights),
        "strength": result.strength,
        "score": round(result.score, 4),
    }


def save_jpeg(image: Any, path: Path, result: Result) -> None:
    """Write a preview of a picture of the result's size."""
    preview(image, SHOWN, result.composite.alpha).save(path, quality=92)


def command_of(harmonizer: Harmonizer, job: Job, overrides: Sequence[str]) -> str:
    """Return the command that gives the same results in the folder of photo and mask."""
    settings = dict(job.settings)
    given: dict[str, Any] = {"dataset": "single", "dataset.image": job.composite.name, "dataset.mask": job.mask.name}
    if settings.get("foreground") is not None:
        # What configured another describer does not fit the one that gives the words.
        overrides = [override for override in overrides if not re.match(r"[+~]*describer\b", override)]
        given |= {"describer": "fixed"}
        given |= {f"describer.{side}": " ".join(settings[side]) for side in ("foreground", "background")}
        settings["object"] = settings.get("object") or "object"
    if settings.get("strength") is not None:
        place = "method" if "strength" in harmonizer.config.method else "recomposer"
        given[f"{place}.strength"] = settings["strength"]
    given |= {key: settings[name] for name, key in SETTINGS.items() if settings.get(name) not in (None, False)}
    return shlex.join(["diffharmon", *overrides, *(f"{key}={spelled(value)}" for key, value in given.items())])


def spelled(value: Any) -> str:
    """Spell a value in Hydra's grammar: text that it would read otherwise in quotes."""
    if not isinstance(value, str):
        return f"{value:g}" if isinstance(value, float) else str(value).lower()
    plain = re.fullmatch(r"[A-Za-z][\w.-]*", value) and value.lower() not in ("true", "false", "null", "nan", "inf")
    return value if plain else f"'{escaped(value)}'"
