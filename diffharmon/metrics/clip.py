"""Agreement of images with words, by CLIP; needs no ground truth."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.multimodal import clip_score

from diffharmon.clip_model import EMBEDDED, ClipEmbedder
from diffharmon.columns import Column
from diffharmon.errors import ConfigError
from diffharmon.images import to_uint8
from diffharmon.images.regions import look_at
from diffharmon.protocols import Sample

HELP = "metrics=[full] measures without CLIP."


class ClipScores:
    """CLIP score and CLIP direction of a result, on a square around the object.

    The CLIP score (Hessel et al., arXiv 2104.08718) is 100 times the cosine between the image and the object under the
    background's words, no less than 0, as torchmetrics computes it. The CLIP direction (Gal et al., arXiv 2108.00946)
    is the cosine between how the image changed and how the words would change it, from the foreground's to the
    background's; 0 where nothing changed. The words are those the method was given, so scores of runs with different
    describers cannot be compared, nor those of different CLIP models.

    Args:
        model: Folder or hub id of a CLIP model; by default the embedded one.
        margin: Surroundings kept on each side of the object, as a fraction of its longer side; null keeps the frame.
        context: Show the surroundings through a grey screen, as the embedded CLIP was trained to see them; off shows
            the photo as it is, for any other CLIP.
        template: Sentence around the words, with ``{}`` in their place.

    Raises:
        ModelError: The model cannot be found or loaded.
        ConfigError: ``margin`` is negative or ``template`` lacks its place.
    """

    columns: ClassVar[tuple[Column, ...]] = (
        Column("clip_score", "CLIP score", direction="higher", has_baseline=True),
        Column("clip_direction", "CLIP direction", direction="higher", decimals=3),
    )

    def __init__(
        self,
        model: str = EMBEDDED,
        margin: Annotated[float, Ge(0)] | None = 0.5,
        context: bool = True,
        template: str = "{}",
    ) -> None:
        if "{}" not in template:
            raise ConfigError(f"template: got {template!r}, expected a text with {{}} where the words go")
        self.model = model
        self.margin = margin
        self.context = context
        self.template = template
        self.clip = ClipEmbedder(model, "metrics.clip.model", HELP)

    @property
    def statement(self) -> str:
        """Which CLIP sees what beside which prompt."""
        model = Path(self.model).name if Path(self.model).is_absolute() else self.model
        crop = "whole frame" if self.margin is None else f"object with a margin of {self.margin:g}"
        crop += ", surroundings screened" if self.context else ""
        return f"CLIP {model}, {crop}, prompt '{self.template}'"

    def measure(self, sample: Sample) -> dict[str, float]:
        """Measure a result by all ``columns``; nothing without words, as for methods without a describer."""
        description, composite = sample.description, sample.composite
        if not description.foreground or not description.background:
            return {}
        before, after = (self._cut(image, composite.mask) for image in (composite.image, sample.result))
        prompts = [description.background_prompt, description.foreground_prompt]
        prompts = [self.template.replace("{}", prompt) for prompt in prompts]
        changed = not torch.equal(before, after)
        return {
            "clip_score": self.score(after, prompts[0]),
            "clip_direction": self.direction(before, after, prompts) if changed else 0.0,
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
