"""A recomposer that mixes the edit into the photo."""

from typing import Annotated

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffharmon.types import Composite, Edited


class Blend:
    """Mixes the enlarged edit with the photo inside the mask.

    Args:
        share: Share of the edit.
    """

    def __init__(self, share: Annotated[float, Ge(0), Le(1)] = 0.5) -> None:
        self.share = share

    def recompose(
        self, composite: Composite, current: Float[Tensor, "3 h w"], edited: Edited
    ) -> Float[Tensor, "3 h w"]:
        """Mix; the background stays as it is."""
        size = composite.image.shape[-2:]
        picture = functional.interpolate(edited.edited[None], size, mode="bilinear")[0].to(composite.image)
        mixed = current.to(composite.image).lerp(picture, self.share).clamp(0, 1)
        return composite.image.where(composite.mask == 0, mixed)
