"""Agreement of images with words, by CLIP; needs no ground truth."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.multimodal import clip_score

from diffharmon.clip_model import EMBEDDED, ClipEmbedder
from diffharmon.errors import InputError
from diffharmon.images import to_uint8
from diffharmon.images.regions import look_at
from diffharmon.types import Composite, Description

NAMES = ("clip_score", "clip_direction")
HELP = "clip_score=none measures without CLIP."


class ClipScores:
    """CLIP score and CLIP direction of a result, on a square around the object.

    The CLIP score (Hessel et al., arXiv 2104.08718) is 100 times the cosine between the image and the object under the
    background's words, no less than 0, as torchmetrics computes it. The CLIP direction (Gal et al., arXiv 2108.00946)
    is the cosine between how the image changed and how the words would change it, from the foreground's to the
    background's; 0 where nothing changed. The words are those the method was given, so scores of runs with different
    describers cannot be compared, nor those of different CLIP models.

    Args:
        model: Folder or hub id of a CLIP model; by default the one that diffharmon carries.
        margin: Surroundings kept on each side of the object, as a fraction of its longer side; null keeps the frame.
        context: Show what surrounds the object through a screen, as the CLIP that diffharmon carries has learnt to read
            it; off shows the photo as it is, for a CLIP that has not.
        template: Sentence around the words, with ``{}`` in their place.

    Raises:
        ModelError: The model cannot be found or loaded.
        InputError: ``margin`` is negative or ``template`` lacks its place.
    """

    def __init__(
        self, model: str = EMBEDDED, margin: float | None = 0.5, context: bool = True, template: str = "{}"
    ) -> None:
        if margin is not None and margin < 0:
            raise InputError(f"clip_score.margin is {margin}, expected a fraction >= 0, or null for the whole frame")
        if "{}" not in template:
            raise InputError(f"clip_score.template is {template!r}, expected a text with {{}} where the words go")
        self.margin = margin
        self.context = context
        self.template = template
        self.clip = ClipEmbedder(model, "clip_score.model", HELP)

    def measure(
        self, output: Float[Tensor, "3 h w"], composite: Composite, description: Description
    ) -> dict[str, float]:
        """Measure a result by both of ``NAMES``, and the composite's own CLIP score.

        Returns:
            Nothing for a description without words, as methods without a describer have it.
        """
        if not description.foreground or not description.background:
            return {}
        before, after = (self._cut(image, composite.mask) for image in (composite.image, output))
        prompts = [description.background_prompt, description.foreground_prompt]
        prompts = [self.template.replace("{}", prompt) for prompt in prompts]
        return {
            "clip_score": self.score(after, prompts[0]),
            "clip_direction": self.direction(before, after, prompts),
            "composite_clip_score": self.score(before, prompts[0]),
        }

    def score(self, image: Float[Tensor, "3 h w"], prompt: str) -> float:
        """Return the CLIP score in [0, 100]."""
        parts: Any = (self.clip.network.to(image.device), self.clip.process)
        with torch.no_grad():
            return float(clip_score([to_uint8(image)], [prompt], lambda: parts))

    def direction(self, before: Float[Tensor, "3 h w"], after: Float[Tensor, "3 h w"], prompts: list[str]) -> float:
        """Return the cosine in [-1, 1] between the images' change and the second prompt's change to the first."""
        old, new = self.clip.embed_images([before, after])
        target, source = self.clip.embed_texts(prompts)
        return float(functional.cosine_similarity(new - old, target - source, dim=0))

    def _cut(self, image: Tensor, mask: Tensor) -> Tensor:
        return look_at(image, mask, self.margin, self.clip.side if self.context else None)
