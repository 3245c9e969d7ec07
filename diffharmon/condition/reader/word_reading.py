"""Reading a change of light with CLIP: from the light its words expect in the foreground to the background's."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffharmon.clip_model import ClipEmbedder
from diffharmon.condition.cielab import rgb_to_lab
from diffharmon.condition.clip_reading import ClipReading, expected_light
from diffharmon.condition.light import map_features, maps_between
from diffharmon.types.light import LightChange

_HELP = "To get it: leave the path at its default, the CLIP shipped with diffharmon."
_COLOURS = 500  # of the foreground, on which CLIP's light becomes a change


class WordReader:
    """Reads a change of light with CLIP: from the light that its words expect in the foreground to the background's.

    Args:
        model: Folder or hub id of the CLIP.

    Raises:
        ModelError: when it cannot be found or loaded.
    """

    def __init__(self, model: str) -> None:
        self.reading = ClipReading(ClipEmbedder(model, "model", _HELP))
        self.prompts = self.reading.prompts("object")

    @property
    def dimension(self) -> int:
        """Count the values of an embedding."""
        return self.prompts.shape[1]

    def change(
        self,
        views: Float[Tensor, "v 2 d"],
        image: Float[Tensor, "3 s s"],
        foreground: Bool[Tensor, "1 s s"],
        centre: Float[Tensor, "3"],
    ) -> LightChange:
        """Read the change as shift and spread of the foreground's colours; its deviation is not known, so 0.

        Args:
            views: Embeddings of foreground and background, as `ClipReading.embed` gives them.
            image: RGB in [0, 1].
            foreground: Where the foreground is.
            centre: Its mean colour in CIELAB.
        """
        front, back = expected_light(self.reading.probabilities(views, self.prompts)).unsqueeze(1)
        colours = image[:, foreground[0]].T
        colours = colours[:: max(1, len(colours) // _COLOURS)]
        mapped = (colours + map_features(colours) @ maps_between(front, back)[0]).clamp(0, 1)
        before, after = rgb_to_lab(colours), rgb_to_lab(mapped)
        spread = ((after.std(0, unbiased=False) + 1) / (before.std(0, unbiased=False) + 1)).log()
        return LightChange(centre, after.mean(0) - before.mean(0), spread, torch.zeros(6))
