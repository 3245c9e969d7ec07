"""Digests of what one image is made from, and what a resumed run does about changes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from diffharmon.protocols import Dataset
from diffharmon.results.provenance.configuration import LENGTH, digest_of
from diffharmon.results.provenance.weights import file_digest
from diffharmon.types import Composite, Description

DIGESTS = ("photo", "mask", "real", "words", "weights", "result")


def image_digests(dataset: Dataset, index: int, composite: Composite | None = None) -> dict[str, str]:
    """Digest what image ``index`` is made from.

    A dataset with ``files(index)``, a mapping of ``photo``, ``mask`` and, where known, ``real`` to paths, is not
    decoded for it; of any other the composite is digested, and read where it is not given.

    Raises:
        OSError: A file cannot be read.
        InputError: The composite cannot be read.
    """
    files = getattr(dataset, "files", None)
    if files is not None:
        return {kind: file_digest(path) for kind, path in files(index).items()}
    return composite_digests(dataset[index] if composite is None else composite)


def composite_digests(composite: Composite) -> dict[str, str]:
    """Digest a composite's pixels: photo (with its transparency and profile), mask and, where known, real photo."""
    photo = (composite.image, composite.alpha, composite.encoded)
    parts: dict[str, Sequence[Any]] = {"photo": photo, "mask": (composite.mask,)}
    if composite.real is not None:
        parts["real"] = (composite.real,)
    found = {}
    for kind, tensors in parts.items():
        data = hashlib.sha256(composite.profile or b"" if kind == "photo" else b"")
        for tensor in tensors:
            if tensor is not None:
                data.update(f"{tuple(tensor.shape)}".encode())
                for channel in tensor.cpu():
                    data.update(channel.contiguous().numpy().data)
        found[kind] = data.hexdigest()[:LENGTH]
    return found


def words_digest(descriptions: Sequence[Description]) -> str:
    """Digest the words that were prepared for an image."""
    return digest_of(json.dumps([asdict(description) for description in descriptions], sort_keys=True))


def as_columns(digests: Mapping[str, str]) -> dict[str, str]:
    """Name digests as a row has them: ``mask_digest``."""
    return {f"{kind}_digest": value for kind, value in digests.items()}


@dataclass(frozen=True)
class Resumed:
    """How a run continues in its folder.

    Attributes:
        done: Names whose rows are valid.
        changed: What changed, by the names that are redone for it.
    """

    done: frozenset[str]
    changed: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        """Summarize in one line: ``3 done before, 1 redone (mask changed)``."""
        kinds = sorted({kind for changes in self.changed.values() for kind in changes}, key=DIGESTS.index)
        redone = f", {len(self.changed)} redone ({', '.join(kinds)} changed)" if self.changed else ""
        return f"{len(self.done)} done before{redone}"


def compare(rows: Sequence[Mapping[str, Any]], present: Mapping[str, Mapping[str, str]]) -> Resumed:
    """Compare finished rows with the digests of the same images now.

    Args:
        rows: One finished row a name.
        present: Digests by name and kind; a name that is missing could not be read and is tried again.
    """
    done, changed = set(), {}
    for name, row in ((row["name"], row) for row in rows if row["name"] in present):
        former = {kind: row[f"{kind}_digest"] for kind in DIGESTS if f"{kind}_digest" in row}
        kinds = former.keys() | present[name].keys()
        changes = tuple(kind for kind in DIGESTS if kind in kinds and former.get(kind) != present[name].get(kind))
        if changes:
            changed[name] = changes
        else:
            done.add(name)
    return Resumed(frozenset(done), changed)
