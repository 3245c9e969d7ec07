"""The paper's recomposition: the edited image inside the mask, the photo outside."""

from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Lt
from jaxtyping import Float
from torch import Tensor

from diffharmon.images import MASK_THRESHOLD
from diffharmon.recomposer.resizing import enlarge
from diffharmon.types import Composite, Edited


class Paste:
    """Pastes the edited image, enlarged to the photo's size: ``m * edited + (1 - m) * background``.

    Args:
        threshold: Mask values above it are foreground; None blends by the soft mask as it is.
    """

    reads_source: ClassVar[bool] = False

    def __init__(self, threshold: Annotated[float, Ge(0), Lt(1)] | None = MASK_THRESHOLD) -> None:
        self.threshold = threshold

    def recompose(
        self, composite: Composite, current: Float[Tensor, "3 h w"], edited: Edited
    ) -> Float[Tensor, "3 h w"]:
        """Return the photo with the edited foreground; only the mask and the background come from the composite."""
        height, width = composite.image.shape[-2:]
        picture = edited.edited.to(composite.image)
        picture = enlarge(picture, (height, width)).clamp(0, 1)
        mask = composite.mask if self.threshold is None else (composite.mask > self.threshold).to(composite.mask)
        blended = mask * picture + (1 - mask) * composite.image
        return torch.where(mask > 0, torch.where(mask < 1, blended, picture), composite.image)
