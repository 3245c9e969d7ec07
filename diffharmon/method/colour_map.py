"""The reader's change of light applied to the foreground directly, without diffusion."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Le

from diffharmon.condition.change import change_image
from diffharmon.condition.reader.reading import WEIGHTS, LightReader
from diffharmon.errors import InputError
from diffharmon.lockstep.lanes import lane_clock
from diffharmon.method.baseline import keep_background, outcome
from diffharmon.method.batch import Outcomes, side_by_side
from diffharmon.types import Composite, Cost, Observer, Outcome


class ColourMap:
    """Maps the foreground's colours as the reader of light reads it; the background stays bit for bit.

    Args:
        weights: Folder or hub id of the reader's weights, see `LightReader`.
        strength: How far to go: 0 not at all, 1 as read.

    Raises:
        InputError: for a strength outside [0, 2].
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(
        self,
        weights: str = WEIGHTS,
        strength: Annotated[float, Ge(0), Le(2)] = 1.0,
    ) -> None:
        if not 0 <= strength <= 2:
            raise InputError(f"method.strength is {strength}, expected a factor from 0 to 2")
        self.reader = LightReader(weights)
        self.strength = strength

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the composite with its foreground's colours mapped.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        clock = lane_clock()
        start = clock()
        change = self.reader.read(composite).change.scaled(self.strength)
        image = keep_background(composite, change_image(change, composite.image, composite.mask))
        return outcome(image, 0, {"transfer": Cost(clock() - start)})

    def harmonize_batch(self, composites: Sequence[Composite], observers: Sequence[Observer]) -> Outcomes:
        """Harmonize each composite as ``harmonize`` does; the networks read all of them in the same calls."""
        return side_by_side(self.harmonize, composites, observers)
