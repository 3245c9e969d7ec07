"""A composite made ready for all iterations of the diffusion method."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.errors import InputError
from diffharmon.protocols import Evaluator
from diffharmon.types import Composite


@dataclass(frozen=True)
class Canvas:
    """A composite and its masks.

    Attributes:
        original: The composite as it was given.
        target: What results are recomposed on, and what the loop starts from: the original, unless a method works on
            a smaller copy.
        mask: Binary foreground mask at the backbone's image size.
        latent_mask: Binary foreground mask at latent size.
        evaluator: Judges results on this composite.
    """

    original: Composite
    target: Composite
    mask: Float[Tensor, "1 h w"]
    latent_mask: Float[Tensor, "1 y x"]
    evaluator: Evaluator

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels at which the backbone works."""
        return self.mask.shape[-2], self.mask.shape[-1]

    def seen_from(self, current: Float[Tensor, "3 h w"]) -> Composite:
        """Return the composite with ``current`` as its image.

        The first iteration sees the original at full size, transparency included, also where the target is smaller.
        """
        return self.original if current is self.target.image else replace(self.target, image=current, alpha=None)


def prepare(composite: Composite, size: tuple[int, int], cell: int, evaluator: Evaluator) -> Canvas:
    """Make masks in pixels and latent cells, each straight from the full-size mask, and let the evaluator see.

    Args:
        composite: The composite.
        size: Height and width in pixels at which the backbone works.
        cell: Side of a latent cell in pixels.
        evaluator: Scores results; one that compares them with the composite is given it.

    Raises:
        InputError: The foreground vanishes at latent size.
    """
    rows, columns = size[0] // cell, size[1] // cell
    mask, latent_mask = (images.binary_mask(composite.mask, given) for given in (size, (rows, columns)))
    if not latent_mask.any():
        raise InputError(
            f"the foreground of {composite.name} vanishes at the backbone's {rows} x {columns} latent cells; "
            "expected a larger foreground, or a crop around it"
        )
    beside = getattr(evaluator, "beside", None)
    judge = evaluator if beside is None else beside(composite)
    return Canvas(composite, composite, mask, latent_mask, judge)
