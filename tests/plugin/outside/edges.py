"""An edge detector."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


class Differences:
    """Absolute differences to the right neighbour."""

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the differences; the last column is 0."""
        return functional.pad(image.diff(dim=-1).abs(), (0, 1))
