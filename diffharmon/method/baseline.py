"""What the methods without a diffusion model share: one picture in, one outcome without a score out."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.types import Attempt, Composite, Cost, Description, Outcome, Score


def keep_background(composite: Composite, picture: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Take the foreground from a picture in [0, 1] and the background, bit for bit, from the composite.

    A soft mask blends the two.
    """
    picture = picture.to(composite.image).clamp(0, 1)
    blended = composite.mask * picture + (1 - composite.mask) * composite.image
    return torch.where(composite.mask > 0, blended, composite.image)


def outcome(
    image: Float[Tensor, "3 h w"],
    iteration: int,
    costs: Mapping[str, Cost],
    description: Description | None = None,
) -> Outcome:
    """Wrap the only image that a method made; its score of 0 has no meaning."""
    attempt = Attempt(iteration, image, Score(0.0), description or Description("", (), ()), number=iteration)
    return Outcome(attempt, (attempt,), "not scored", costs)
