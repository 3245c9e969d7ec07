"""Attention layers, and what happens at them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """An attention layer of the network.

    Attributes:
        name: Name of its processor.
        kind: ``self``, ``cross`` (image to text), or ``joint`` (image and text in one sequence).
        place: ``down``, ``mid`` or ``up`` in a UNet; empty where a network has no such parts.
        depth: Position among the layers of its kind, from 0 (first in the forward pass) to 1 (last).
    """

    name: str
    kind: str
    place: str
    depth: float


@dataclass(frozen=True)
class AttentionRule:
    """What happens at some attention layers during some of the steps.

    Attributes:
        kind: ``cross`` or ``self``; both act on ``joint`` layers too, each on its own quadrant.
        action: ``replace`` (each row attends as its source row does), ``record`` (attention maps are recorded) or
            ``keep`` (queries and keys are kept while the store asks for it).
        places: Only layers in these parts of a UNet (``down``, ``mid``, ``up``); None means anywhere.
        start: Fraction of the sampling steps at which it begins.
        end: Fraction of the sampling steps at which it ends.
        queries: Only layers with this many queries; 0 means any.
        depths: Only layers from the first to the second depth, both included.
    """

    kind: str
    action: str
    places: tuple[str, ...] | None = None
    start: float = 0.0
    end: float = 1.0
    queries: int = 0
    depths: tuple[float, float] = (0.0, 1.0)

    def matches(self, site: Site) -> bool:
        """Return whether the rule selects this layer."""
        placed = self.places is None or site.place in self.places
        same = site.kind == self.kind or (site.kind == "joint" and self.kind in ("self", "cross"))
        return same and placed and self.depths[0] <= site.depth <= self.depths[1]

    def active(self, step: int, steps: int) -> bool:
        """Return whether the rule acts at this step; all steps of [start, end) x steps."""
        return int(self.start * steps) <= step < int(self.end * steps)
