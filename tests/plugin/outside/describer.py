"""A describer that reads brightness only."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from diffharmon.types import Attempt, Composite, Description


class Brightness:
    """Calls the darker of foreground and background dim and the other bright.

    Args:
        object: Name of the foreground object.
        margin: Difference of the mean values from which they count as different, 0 to 1.
    """

    def __init__(self, object: str = "object", margin: Annotated[float, Ge(0)] = 0.02) -> None:
        self.object, self.margin = object, margin

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Compare the mean values."""
        mask = composite.mask[0] > 0.5
        difference = float(composite.image[:, mask].mean() - composite.image[:, ~mask].mean())
        words = ("dim", "bright") if difference < -self.margin else ("bright", "dim")
        return Description(self.object, words[:1], words[1:], "brightness")


def describe_nothing() -> None:
    """Be no class, so that a configuration naming this is refused."""
