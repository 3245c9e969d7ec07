"""Evaluators: one of brightness, and one that averages others."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from diffharmon.protocols import Evaluator
from diffharmon.types import Description, Score


class SameBrightness:
    """Scores how close the mean values of foreground and background are; 0 is best."""

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Compare the mean values."""
        inside = mask[0] > 0.5
        return Score(-float((image[:, inside].mean() - image[:, ~inside].mean()).abs()))


class Mean:
    """Averages several evaluators.

    Args:
        parts: The evaluators.
    """

    def __init__(self, parts: Sequence[Evaluator]) -> None:
        self.parts = parts

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Average the scores."""
        scores = [part.score(image, mask, description).value for part in self.parts]
        return Score(sum(scores) / len(scores))
