"""Harmony as the joint reader scores it: how probable it is that nobody altered the foreground."""

import math
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.reader.reading import WEIGHTS, LightReader
from diffharmon.types import Composite, Description, Score

_LARGEST = 13.8  # logit of a probability, so that it stays below 1


class Reader:
    """Probability that the foreground's light was not altered, by the network that also reads how it was.

    By default it weighs the harmony classifier's evidence too. The description plays no part.

    Args:
        weights: Folder or hub id of the reader's weights, see `LightReader`.

    Raises:
        ModelError: when the weights cannot be found or loaded.
    """

    probability: ClassVar[bool] = True  # read before weights load, by `diffharmon.config.capabilities`

    def __init__(self, weights: str = WEIGHTS) -> None:
        self.reader = LightReader(weights)

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the probability in (0, 1), and its logit as a term.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        logit = -self.reader.read(Composite("the composite", "", image, mask)).logit
        logit = min(max(logit, -_LARGEST), _LARGEST)
        return Score(1 / (1 + math.exp(-logit)), {"logit": logit})
