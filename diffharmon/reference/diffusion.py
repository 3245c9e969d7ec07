"""The pass over an image as the public code does it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from diffharmon import images
from diffharmon.method.canvas import Canvas
from diffharmon.method.diffusion import Diffusion
from diffharmon.method.policy import Policy
from diffharmon.protocols import (
    Backbone,
    Describer,
    EmbeddingOptimizer,
    Evaluator,
    Recomposer,
    Sampler,
    StructurePreserver,
)
from diffharmon.types import Composite


class ReferenceDiffusion(Diffusion):
    """`Diffusion` with the public code's deviations (Q7, Q8, Q22 of `diffharmon.reference.quirks`, and the drift).

    Args:
        describer: As for `Diffusion`, like all up to ``seed``.
        backbone: The diffusion model.
        sampler: Inverts the image to noise and denoises the edit.
        embedding: Optimizers of the text conditioning.
        structure: Parts that keep the structure.
        recomposer: Puts the edited foreground back into the photo.
        evaluator: Scores every result.
        policy: Decides whether to go on, switch the description or stop.
        guidance: Classifier-free guidance scale of the edit.
        inversion_guidance: Guidance of the inversion.
        descriptions: How many descriptions are tried in the first iteration.
        words: Use only the first this many condition words on each side.
        variants: How many results to offer.
        seed: Seeds all that is random.
        word_maps: Whether to see where each word attends.
        structure_from: Keep the structure of the ``composite``, or of the image that each iteration starts from
            (``current``), which drifts.
        resolution: ``model`` squashes everything to the backbone's canvas first; ``full`` recomposes at the photo's
            own size.
        sample_posterior: Sample the autoencoder's posterior instead of taking its mode, with the same noise for every
            iteration of an image.
        seed_by_name: Mix the image's name into the seed; off gives every image the same noise.
        truncate: Cut decoded images to 8 bits downwards.
    """

    def __init__(
        self,
        describer: Describer,
        backbone: Backbone,
        sampler: Sampler,
        embedding: Mapping[str, EmbeddingOptimizer],
        structure: Mapping[str, StructurePreserver],
        recomposer: Recomposer,
        evaluator: Evaluator,
        policy: Policy,
        guidance: Annotated[float, Ge(0), Le(1000)] = 2.5,
        inversion_guidance: Annotated[float, Ge(0), Le(1000)] = 0.0,
        descriptions: Annotated[int, Ge(1)] = 1,
        words: Annotated[int, Ge(1)] | None = None,
        variants: Annotated[int, Ge(1), Le(8)] = 1,
        seed: Annotated[int, Ge(0)] = 0,
        word_maps: bool = True,
        structure_from: Literal["composite", "current"] = "composite",
        resolution: Literal["full", "model"] = "full",
        sample_posterior: bool = False,
        seed_by_name: bool = True,
        truncate: bool = False,
    ) -> None:
        super().__init__(
            describer,
            backbone,
            sampler,
            embedding,
            structure,
            recomposer,
            evaluator,
            policy,
            guidance=guidance,
            inversion_guidance=inversion_guidance,
            descriptions=descriptions,
            words=words,
            variants=variants,
            seed=seed,
            word_maps=word_maps,
        )
        self.structure_from = structure_from
        self.resolution = resolution
        self.sample_posterior = sample_posterior
        self.seed_by_name = seed_by_name
        self.truncate = truncate

    @property
    def draws_random(self) -> bool:
        """Whether the seed can change a result."""
        return self.sample_posterior or super().draws_random

    def canvas(self, composite: Composite) -> Canvas:
        """Recompose on a squashed copy, where asked for; the masks still come from the full-size one."""
        canvas = super().canvas(composite)
        if self.resolution == "full":
            return canvas
        return replace(canvas, target=images.squash(canvas.original, canvas.size))

    def structure_source(self, canvas: Canvas, seen: Composite) -> Composite:
        """Return the image whose structure is kept."""
        return seen if self.structure_from == "current" else super().structure_source(canvas, seen)

    def encode(self, image: Float[Tensor, "3 h w"], name: str) -> Float[Tensor, "1 c y x"]:
        """Take a sample of the posterior, or its mode."""
        if not self.sample_posterior:
            return super().encode(image, name)
        return self.backbone.encode(image[None], torch.Generator().manual_seed(self.image_seed(name)))

    def decode(self, latents: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Decode to [0, 1], cut to 8 bits where asked for."""
        decoded = super().decode(latents)
        return (decoded * 255).floor() / 255 if self.truncate else decoded

    def image_seed(self, name: str) -> int:
        """The seed of an image, or the same one for all."""
        return super().image_seed(name) if self.seed_by_name else self.seed
