"""Negative-prompt inversion: the source prompt itself as unconditional embedding (arXiv 2305.16807)."""

from dataclasses import replace
from typing import ClassVar

from diffharmon.protocols import Backbone
from diffharmon.types import Conditioning, Inversion, Observer


class NegativePrompt:
    """Takes the foreground embedding for the unconditional one: what null-text finds, without optimizing."""

    needs: ClassVar[tuple[str, ...]] = ("negative_prompt",)

    def refine(
        self, backbone: Backbone, inversion: Inversion, conditioning: Conditioning, observe: Observer
    ) -> Conditioning:
        """Return the conditioning with the foreground's embeddings as unconditional ones."""
        return replace(conditioning, unconditional=conditioning.foreground)
