"""Attention of the source branch as structure: the edited branch attends as the source does (paper section 3.2)."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen, MinLen

from diffharmon.errors import ConfigError
from diffharmon.types import AttentionRule, Composite, StructureGuidance

Fraction = Annotated[float, Ge(0), Le(1)]
Places = Annotated[Sequence[Literal["down", "mid", "up"]], MinLen(1)]
Depths = Annotated[Sequence[Fraction], MinLen(2), MaxLen(2)]


def _replace(
    kind: str, start: float, end: float, places: Sequence[str] | None, depths: Sequence[float], queries: int
) -> AttentionRule:
    if not start < end:
        raise ConfigError(f"start: expected less than end, {end}, got {start}")
    if not depths[0] <= depths[1]:
        raise ConfigError(f"depths: expected first <= last, got {list(depths)}")
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
        start: Fraction = 0.0,
        end: Fraction = 1.0,
        places: Places | None = None,
        depths: Depths = (0.0, 1.0),
        queries: Annotated[int, Ge(0)] = 0,
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
        start: Fraction = 0.0,
        end: Fraction = 1.0,
        places: Places | None = None,
        depths: Depths = (0.0, 1.0),
        queries: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.rule = _replace("self", start, end, places, depths, queries)

    def guide(self, composite: Composite, size: tuple[int, int]) -> StructureGuidance:
        """Return the rule; it does not depend on the image."""
        return StructureGuidance(rules=(self.rule,))
