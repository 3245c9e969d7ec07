"""Harmony as two networks score it: how probable it is that nobody altered the foreground."""

import math
from typing import Annotated, ClassVar

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.reader.reading import WEIGHTS, LightReader
from diffharmon.evaluator.classifier import Classifier
from diffharmon.files import ASSETS
from diffharmon.types import Composite, Description, Score

_CLOSEST = 1e-6  # of a probability to 0 or 1


class Reader:
    """Probability that the foreground's light was not altered, from the network that also reads how it was.

    The harmony classifier is asked too, and the logits are averaged: the two were trained on different ways of making
    composites, and together they err less on either. The description plays no part.

    Args:
        weights: Folder or hub id of the reader's network; by default the one shipped with diffharmon.
        share: The harmony classifier's share of the logit; 0 does not load it.
        classifier: Folder or hub id of the harmony classifier.

    Raises:
        ModelError: when the weights cannot be found or loaded.
    """

    probability: ClassVar[bool] = True  # read before weights load, by `diffharmon.config.capabilities`

    def __init__(
        self,
        weights: str = WEIGHTS,
        share: Annotated[float, Ge(0), Le(1)] = 0.5,
        classifier: str = str(ASSETS / "evaluator"),
    ) -> None:
        self.reader = LightReader(weights)
        self.share = share
        self.classifier = Classifier(classifier) if share else None

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the probability in (0, 1), and as terms its logit and those of which it is made.

        Raises:
            InputError: when the mask leaves no foreground or no background.
        """
        altered = self.reader.read(Composite("the composite", "", image, mask)).altered
        unaltered = min(max(1 - altered, _CLOSEST), 1 - _CLOSEST)
        terms = {"reader": math.log(unaltered / (1 - unaltered))}
        logit = (1 - self.share) * terms["reader"]
        if self.classifier is not None:
            terms["classifier"] = self.classifier.score(image, mask, description).terms["logit"]
            logit += self.share * terms["classifier"]
        return Score(1 / (1 + math.exp(-logit)), {"logit": logit, **terms})
