"""Harmony as the reader of light scores it: how probable it is that nobody altered the foreground."""

import math

from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.reader.reading import WEIGHTS, LightReader
from diffharmon.types import Composite, Description, Score

_CLOSEST = 1e-6  # of a probability to 0 or 1


class Reader:
    """Probability that the foreground's light was not altered, from the network that also reads how it was.

    The description plays no part.

    Args:
        weights: Folder or hub id of the reader's network; by default the one shipped with diffharmon.

    Raises:
        ModelError: when the weights cannot be found or loaded.
    """

    def __init__(self, weights: str = WEIGHTS) -> None:
        self.reader = LightReader(weights)

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the probability in (0, 1), and its logit as a term.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        altered = self.reader.read(Composite("the composite", "", image, mask)).altered
        probability = min(max(1 - altered, _CLOSEST), 1 - _CLOSEST)
        return Score(probability, {"logit": math.log(probability / (1 - probability))})
