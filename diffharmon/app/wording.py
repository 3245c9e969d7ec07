"""What the page says: words to choose from, captions, and errors without the names of its own folders."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.errors import DiffharmonError, DoubtfulMask, describe_error

PLAIN_MASK = "a mask is white on the object and black elsewhere"
UNEXPECTED = "something unexpected went wrong; the terminal that runs diffharmon-app shows what"
NO_MEMORY = "this photo needs more memory than there is; a smaller photo or fewer variants help"


def choices() -> list[str]:
    """Return the vocabulary, the words of one list together."""
    return [word for words in VOCABULARY.values() for word in words]


def caption(variant: Mapping[str, Any], beside: Mapping[str, Any] | None = None) -> str:
    """Describe a variant in one line.

    Args:
        variant: Its entry in the record.
        beside: Another one, whose words need not be repeated.
    """
    if variant["strength"] == 0:
        return "as it was"
    sides = ("foreground", "background")
    strength = f"{variant['strength']:g} ×"
    if beside is not None and all(variant[side] == beside[side] for side in sides):
        return strength
    words = " → ".join(" ".join(variant[side]) for side in sides if variant[side])
    return f"{'' if variant['strength'] == 1 else strength + ' '}{words}" or "result"


def sentence(record: Mapping[str, Any], number: int) -> str:
    """Say in HTML which variant is shown, and why the method stopped."""
    variant = record["variants"][number]
    total = len(record["variants"])
    which = f"Variant {number + 1} of {total}. " if total > 1 else ""
    score = f"Harmony {variant['score']:.2f}. " if any(one["score"] for one in record["variants"]) else ""
    done = f"{record['reason'][:1].upper()}{record['reason'][1:]}, after {record['seconds']:.0f} s."
    return f"<p><b>{escape(which)}</b>{escape(caption(variant))}. {score}<span>{escape(done)}</span></p>"


def links(visit: str, number: int, variant: int, record: Mapping[str, Any], lut_error: str) -> str:
    """Return the links to all downloads of a variant in HTML."""
    entry = record["variants"][variant]
    form = Path(entry["file"]).suffix[1:].upper()
    offered = {
        "image": ("Photo", f"{form}, {record['depth']} bits"),
        "lut": ("Lookup table", f"CUBE, error {lut_error} of 255"),
        "layers": ("Layers", "PSD"),
        "mask": ("Mask", Path(record["mask"]).suffix[1:].upper()),
        "config": ("Settings", "YAML"),
    }
    made = (
        f'<a href="download/{visit}/{number}/{variant}/{kind}" download data-kind="{kind}">'
        f"<b>{title}</b><small>{escape(what)}</small></a>"
        for kind, (title, what) in offered.items()
    )
    return f'<nav class="downloads">{"".join(made)}</nav>'


def words_of(given: Sequence[str] | None) -> list[str]:
    """Return the words of a box, stripped."""
    return [word.strip() for word in given or [] if word.strip()]


def plain(error: Exception, folders: Sequence[Path]) -> str:
    """Say what went wrong, files by their names only.

    Args:
        error: What was raised.
        folders: The page's own folders, which mean nothing to a visitor.
    """
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return NO_MEMORY
    if not isinstance(error, DiffharmonError):
        return UNEXPECTED
    # A visitor has no settings and no arrays.
    text = f"{error.found}; {PLAIN_MASK}" if isinstance(error, DoubtfulMask) else describe_error(error)
    for folder in folders:
        text = re.sub(rf"{re.escape(str(folder))}(?:/[^/\s]+)*/", "", text)
    text = text.replace("dataset.max_megapixels allows", "this page allows")
    first, _, _ = text.partition(" ")
    return text if "." in first else text[:1].upper() + text[1:]  # a file's name stays as it is
