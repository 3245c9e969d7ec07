"""The reader's change of light applied to the foreground directly, without diffusion."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Le

from diffharmon.condition.change import change_image
from diffharmon.condition.reader.reading import CLIP, JOINT, NEAR, STRENGTH, WEIGHTS, LightReader
from diffharmon.errors import InputError
from diffharmon.lockstep.lanes import lane_clock
from diffharmon.method.baseline import keep_background, outcome
from diffharmon.method.batch import Outcomes, side_by_side
from diffharmon.types import Composite, Cost, Observer, Outcome


class ColourMap:
    """Maps the foreground's colours as the reader of light reads it; the background stays bit for bit.

    Args:
        weights: Folder or hub id of the reader's network.
        near: Share of the near background's rule in the reading, see `LightReader`.
        clip: Share of CLIP's reading in it.
        joint: Share of the joint reader's.
        strength: How far to go: 0 not at all, 1 as read. The default makes fewer composites worse, see
            experiments/reader.

    Raises:
        InputError: for a strength outside [0, 2].
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(
        self,
        weights: str = WEIGHTS,
        near: Annotated[float, Ge(0), Le(1)] = NEAR,
        clip: Annotated[float, Ge(0), Le(1)] = CLIP,
        joint: Annotated[float, Ge(0), Le(1)] = JOINT,
        strength: Annotated[float, Ge(0), Le(2)] = STRENGTH,
    ) -> None:
        if not 0 <= strength <= 2:
            raise InputError(f"method.strength is {strength}, expected a factor from 0 to 2")
        self.reader = LightReader(weights, near, clip, joint)
        self.strength = strength

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the composite with its foreground's colours mapped.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        clock = lane_clock()
        start = clock()
        change = self.reader.read(composite).scaled(self.strength)
        image = keep_background(composite, change_image(change, composite.image, composite.mask))
        return outcome(image, 0, {"transfer": Cost(clock() - start)})

    def harmonize_batch(self, composites: Sequence[Composite], observers: Sequence[Observer]) -> Outcomes:
        """Harmonize each composite as ``harmonize`` does; the networks read all of them in the same calls."""
        return side_by_side(self.harmonize, composites, observers)
