"""Harmony as a trained network judges it (paper section 3.3)."""

import contextlib
import io
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.condition.harmony_network import HarmonyNetwork
from diffharmon.files import ASSETS, loading
from diffharmon.images.regions import shrink
from diffharmon.lockstep.network_call import call_network
from diffharmon.types import Description, Score

HELP = (
    "To get it: set `evaluator.weights` to a folder with config.json and model.safetensors as HarmonyNetwork's "
    "save_pretrained writes them, or leave it at its default, the model shipped with diffharmon. "
    "Works offline without any weights: evaluator=none."
)


class Classifier:
    """Probability that the foreground belongs to its background, from a network that sees image and mask.

    The description plays no part.

    Args:
        weights: Folder or hub id of a ``HarmonyNetwork``; by default the one shipped with diffharmon.

    Raises:
        ModelError: If it cannot be found or loaded.
    """

    probability: ClassVar[bool] = True  # read before weights load, by `diffharmon.config.capabilities`

    def __init__(self, weights: str = str(ASSETS / "evaluator")) -> None:
        # The hub's mixin prints that it loads.
        with loading("harmony classifier", weights, HELP), contextlib.redirect_stdout(io.StringIO()):
            network = HarmonyNetwork.from_pretrained(weights, strict=True)
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the probability in (0, 1) of being harmonious, and its logit as a term."""
        small, cover = (shrink(layer, self.network.size) for layer in (image, mask.to(image)))
        logit = call_network(self.network.to(image.device), small[None], cover[None])
        return Score(torch.sigmoid(logit).item(), {"logit": logit.item()})
