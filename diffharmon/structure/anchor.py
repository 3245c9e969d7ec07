"""Direct inversion as structure: the source branch of the edit follows the inversion exactly."""

from diffharmon.errors import InputError
from diffharmon.types import Composite, StructureGuidance


class Anchor:
    """Pins the source branch of the edit to the inversion's trajectory (direct inversion, arXiv 2310.01506).

    The edited branch then borrows its attention from a branch that reconstructs the image, with no optimization of
    the unconditional embedding.

    Args:
        carry: Fraction of the source branch's correction that the edited branch receives too; 0 is the published
            method, 1 moves both branches alike.
    """

    def __init__(self, carry: float = 0.0) -> None:
        if not 0 <= carry <= 1:
            raise InputError(f"carry of the anchor is {carry}, expected a fraction from 0 to 1")
        self.carry = carry

    def guide(self, composite: Composite, size: int) -> StructureGuidance:
        """Return the share of the correction; it does not depend on the image."""
        return StructureGuidance(anchor=self.carry)
