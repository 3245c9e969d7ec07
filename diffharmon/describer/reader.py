"""Words from the reader of light, offline: a change of light read in numbers and put into weighted words."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.reader.reading import WEIGHTS, LightReader
from diffharmon.condition.wording import put_into_words
from diffharmon.describer import words as describing
from diffharmon.errors import InputError
from diffharmon.images import MASK_THRESHOLD
from diffharmon.types import Attempt, Composite, Description

_COLOURS = 48  # of the foreground, on which words are compared with the change
_STRENGTHS = (1.0, 0.6, 1.4)


class Reader:
    """Describes both sides by the weighted words that come nearest to the change of light that the reader reads.

    The change itself goes along with the words, so that the recomposer can calibrate the edit against it, and what the
    words leave out of it is recorded. When asked for another description of an image it gives the same change less far,
    then farther.

    Args:
        weights: Folder or hub id of the reader's weights, see `LightReader`.
        strength: How far to go: 1 as read.
        words: Words a side at most.
        object: Name of the foreground object in the prompts.

    Raises:
        InputError: for a strength outside (0, 2], or no word.
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(
        self,
        weights: str = WEIGHTS,
        strength: Annotated[float, Gt(0), Le(2)] = 1.0,
        words: Annotated[int, Ge(1)] = 4,
        object: str = "object",
    ) -> None:
        if not 0 < strength <= 2:
            raise InputError(f"describer.strength is {strength}, expected a factor above 0 and up to 2")
        if words < 1:
            raise InputError(f"describer.words is {words}, expected at least 1")
        self.reader = LightReader(weights)
        self.strength, self.words, self.object = strength, words, object

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        read = self.reader.read(composite).change
        colours = sample(composite)
        options = []
        for factor in _STRENGTHS if previous else _STRENGTHS[:1]:
            change = read.scaled(self.strength * factor)
            found = put_into_words(change, colours, self.words)
            (front, front_weights), (back, back_weights) = (
                (tuple(side), tuple(side.values())) for side in (found.foreground, found.background)
            )
            options.append(
                Description(
                    self.object,
                    front,
                    back,
                    describer="reader",
                    foreground_weights=front_weights,
                    background_weights=back_weights,
                    change=change,
                    residual=round(found.residual, 4),
                )
            )
        return describing.choose(options, previous)


def sample(composite: Composite) -> Float[Tensor, "n 3"]:
    """Pick colours of the foreground, evenly by lightness."""
    inside = composite.mask[0] > MASK_THRESHOLD
    colours = composite.image[:, inside].T.float().cpu()
    ordered = colours[colours.mean(1).argsort()]
    places = torch.linspace(0, len(ordered) - 1, min(_COLOURS, len(ordered))).round().long()
    return ordered[places]
