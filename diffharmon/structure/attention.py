"""Attention of the source branch as structure: the edited branch attends as the source does (paper section 3.2)."""

from collections.abc import Sequence

from diffharmon.errors import InputError
from diffharmon.types import AttentionRule, Composite, StructureGuidance

PLACES = ("down", "mid", "up")


def _replace(
    kind: str, start: float, end: float, places: Sequence[str] | None, depths: Sequence[float], queries: int
) -> AttentionRule:
    if not 0 <= start < end <= 1:
        raise InputError(
            f"{kind}-attention from start={start} to end={end}, expected fractions with 0 <= start < end <= 1"
        )
    if places is not None and (not places or any(place not in PLACES for place in places)):
        raise InputError(f"{kind}-attention at places {list(places)}, expected some of {list(PLACES)}, or null for all")
    if len(depths) != 2 or not 0 <= depths[0] <= depths[1] <= 1:
        raise InputError(
            f"{kind}-attention at depths {list(depths)}, expected two fractions with 0 <= first <= last <= 1"
        )
    if queries < 0:
        raise InputError(f"{kind}-attention with queries={queries}, expected a number of queries or 0 for any")
    chosen = None if places is None else tuple(places)
    return AttentionRule(kind, "replace", chosen, start, end, queries, (depths[0], depths[1]))


class CrossAttention:
    """The edited branch takes the source branch's cross-attention maps, word by word of the same position.

    Args:
        start: Fraction of the sampling steps at which it begins.
        end: Fraction of the sampling steps at which it ends; the reference code does it at every step.
        places: Only parts of a UNet: some of ``down``, ``mid``, ``up``; None means all layers.
        depths: Only layers from the first to the second depth: 0 is the first layer of its kind, 1 the last.
        queries: Only layers with this many queries (latent cells); 0 means any.
    """

    def __init__(
        self,
        start: float = 0.0,
        end: float = 1.0,
        places: Sequence[str] | None = None,
        depths: Sequence[float] = (0.0, 1.0),
        queries: int = 0,
    ) -> None:
        self.rule = _replace("cross", start, end, places, depths, queries)

    def guide(self, composite: Composite, size: tuple[int, int]) -> StructureGuidance:
        """Return the rule; it does not depend on the image."""
        return StructureGuidance(rules=(self.rule,))


class SelfAttention:
    """The edited branch takes the source branch's self-attention maps, which carry the layout of the image.

    Args:
        start: Fraction of the sampling steps at which it begins.
        end: Fraction of the sampling steps at which it ends; the reference code does it at every step.
        places: Only parts of a UNet: some of ``down``, ``mid``, ``up``; None means all layers.
        depths: Only layers from the first to the second depth: 0 is the first layer of its kind, 1 the last.
        queries: Only layers with this many queries (latent cells); 0 means any.
    """

    def __init__(
        self,
        start: float = 0.0,
        end: float = 1.0,
        places: Sequence[str] | None = None,
        depths: Sequence[float] = (0.0, 1.0),
        queries: int = 0,
    ) -> None:
        self.rule = _replace("self", start, end, places, depths, queries)

    def guide(self, composite: Composite, size: tuple[int, int]) -> StructureGuidance:
        """Return the rule; it does not depend on the image."""
        return StructureGuidance(rules=(self.rule,))
