"""The composite as it is: what every method has to beat."""

from diffharmon.method.baseline import outcome
from diffharmon.types import Composite, Observer, Outcome


class Identity:
    """Returns the composite untouched."""

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the composite's own image, as iteration -1."""
        return outcome(composite.image, -1, {})
