"""No evaluation: every image gets the same score."""

from jaxtyping import Float
from torch import Tensor

from diffharmon.types import Description, Score


class NoEvaluator:
    """Gives every image the score 0: nothing falls, so all iterations run, as in the reference without its evaluator.

    With the policy's ``ties="last"`` the last image wins.
    """

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return a score of 0 without terms."""
        return Score(0.0)
