"""A fixed subset of a dataset that keeps the shares of its sources."""

import hashlib
from collections.abc import Sequence

from diffharmon.errors import InputError


def choose(names: Sequence[str], sources: Sequence[str], limit: int | None, seed: int) -> list[int]:
    """Choose ``limit`` entries, stratified by source, independent of platform and of library versions.

    Each source gets its share of ``limit`` by largest remainders; within a source the entries of smallest
    ``sha256(seed, name)`` are taken, so that a larger limit mostly adds to a smaller one.

    Args:
        names: Unique names of all entries.
        sources: The source of each entry.
        limit: How many to choose; None or more than there are means all.
        seed: Another seed chooses others.

    Returns:
        Ascending indices.

    Raises:
        InputError: For a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1 or null for all images, got {limit}")
    if limit is None or limit >= len(names):
        return list(range(len(names)))
    groups: dict[str, list[int]] = {}
    for index, source in enumerate(sources):
        groups.setdefault(source, []).append(index)
    exact = {source: limit * len(group) / len(names) for source, group in groups.items()}
    shares = {source: int(value) for source, value in exact.items()}
    by_remainder = sorted(groups, key=lambda source: (shares[source] - exact[source], source))
    for source in by_remainder[: limit - sum(shares.values())]:
        shares[source] += 1

    def order(index: int) -> str:
        return hashlib.sha256(f"{seed}:{names[index]}".encode()).hexdigest()

    return sorted(index for source, group in groups.items() for index in sorted(group, key=order)[: shares[source]])
