"""The kinds of component, one protocol each; a kind is a package folder and a config group of the same name."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from diffharmon.columns import Column
from diffharmon.types import (
    Attempt,
    AttentionRule,
    Composite,
    Conditioning,
    Description,
    Edited,
    Inversion,
    Observer,
    Outcome,
    Score,
    StructureGuidance,
    TokenEdit,
    WordSpans,
)


@runtime_checkable
class Dataset(Protocol):
    """Composites by index; an index always gives the same composite."""

    def __len__(self) -> int:
        """Count the composites."""
        ...

    def __getitem__(self, index: int) -> Composite:
        """Read one composite; raises ``InputError`` naming the file when it cannot be used."""
        ...

    def name(self, index: int) -> str:
        """Return the name of composite ``index`` without reading it."""
        ...


@runtime_checkable
class Describer(Protocol):
    """Words for the imaging conditions of foreground and background (paper section 3.1)."""

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite; ``previous`` holds what was tried and how it scored, so that another can differ."""
        ...


@runtime_checkable
class AttentionStore(Protocol):
    """What an attention ``with`` block returns: the loop sets its step and reads the recorded maps from it."""

    step: int

    def maps(self, side: int = 16) -> Float[Tensor, "b q n"]:
        """Return recorded attention probabilities, averaged over heads of the layers nearest to ``side`` cells."""
        ...


@runtime_checkable
class Backbone(Protocol):
    """A frozen text-to-image diffusion model with a fixed number of sampling steps; also an ``nn.Module``.

    Nothing in it carries ``no_grad``: the loops decide. ``unet`` is the network whose calls are counted. An inversion
    predicts ``inversion_offset`` steps later than the step it inverts: 0 or 1.
    """

    size: int
    latent_size: int
    timesteps: Int[Tensor, " i"]
    unet: nn.Module
    inversion_offset: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def encode(
        self, image: Float[Tensor, "b 3 s s"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Encode images in [0, 1]; with a generator the posterior is sampled, else its mode is taken."""
        ...

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 s s"]:
        """Decode to [0, 1], not clamped."""
        ...

    def embed(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None] = ()) -> Float[Tensor, "b n d"]:
        """Embed prompts, with some of their input token embeddings replaced."""
        ...

    def input_embeddings(self, prompt: str, positions: Sequence[int]) -> Float[Tensor, "k d"]:
        """Token plus position embeddings at ``positions``, as ``embed`` would feed them to the transformer."""
        ...

    def words(self, description: Description) -> WordSpans:
        """Find the condition words' tokens in both prompts."""
        ...

    def predict(
        self, latent: Float[Tensor, "b c y x"], step: int, text: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b c y x"]:
        """Predict the model output (noise or velocity) at a sampling step."""
        ...

    def denoise(
        self, latent: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one DDIM step towards the image."""
        ...

    def estimate(
        self, latent: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Estimate the clean latent from a noisy one and the model output at its step."""
        ...

    def invert(
        self, latent: Float[Tensor, "b c y x"], noise: Float[Tensor, "b c y x"], step: int
    ) -> Float[Tensor, "b c y x"]:
        """Take one DDIM step towards noise: from what leaves sampling step ``step`` to what enters it."""
        ...

    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = ()
    ) -> AbstractContextManager[AttentionStore]:
        """Put rules on the attention layers inside a ``with``; batch row r follows row ``sources[r]``."""
        ...


@runtime_checkable
class EmbeddingOptimizer(Protocol):
    """Conditioning in, better conditioning out."""

    def refine(
        self, backbone: Backbone, inversion: Inversion, conditioning: Conditioning, observe: Observer
    ) -> Conditioning:
        """Return an improved conditioning; the backbone's weights stay as they are."""
        ...


@runtime_checkable
class StructurePreserver(Protocol):
    """One part of what keeps the structure of the image while its light changes."""

    def guide(self, composite: Composite, size: int) -> StructureGuidance:
        """Measure the structure of ``composite.image`` (the image of this iteration) at ``size`` x ``size`` pixels."""
        ...


@runtime_checkable
class EdgeDetector(Protocol):
    """Edges of an image, differentiable in it; `EdgeLoss` makes a structure part of it."""

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Return the edge map of RGB images in [0, 1]."""
        ...


@runtime_checkable
class Recomposer(Protocol):
    """Puts the edited foreground back into the untouched photo."""

    def recompose(
        self, composite: Composite, current: Float[Tensor, "3 h w"], edited: Edited
    ) -> Float[Tensor, "3 h w"]:
        """Return the photo at full size with its foreground harmonized and its background (mask 0) bit for bit.

        Args:
            composite: The original photo and mask.
            current: The image of this iteration's start at full size (the composite, or an earlier result).
            edited: The branches of the edit, square at the backbone's size, squashed from ``current``.
        """
        ...


@runtime_checkable
class Evaluator(Protocol):
    """Judges harmony without ground truth; a higher score is better."""

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Score one image; a metric with ground truth is no evaluator."""
        ...


@runtime_checkable
class Method(Protocol):
    """Harmonizes one composite; the ground truth is never seen."""

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the best attempt and everything tried on the way."""
        ...


@dataclass(frozen=True)
class Sample:
    """What a metric looks at: a composite with its ground truth where known, a result of its size, and the words."""

    composite: Composite
    result: Float[Tensor, "3 h w"]
    description: Description

    def unchanged(self) -> "Sample":
        """Return the sample with the composite itself as the result."""
        return replace(self, result=self.composite.image)


@runtime_checkable
class Metric(Protocol):
    """Measures a finished result, with or without ground truth; never seen by a method."""

    @property
    def columns(self) -> Sequence[Column]:
        """The numbers it measures; a class attribute will do."""
        ...

    @property
    def statement(self) -> str:
        """State how it measures, for a table's caption; numbers compare only where it is the same."""
        ...

    def measure(self, sample: Sample) -> Mapping[str, float]:
        """Return values by column key; empty where the sample lacks what the metric needs.

        Raises:
            InputError: The sample cannot be measured; it becomes an error row.
        """
        ...


@runtime_checkable
class Logger(Protocol):
    """Where results go besides the run folder."""

    def image(self, name: str, panel: Mapping[str, Float[Tensor, "3 h w"]], row: Mapping[str, Any]) -> None:
        """Log one finished image: its pictures by title and its row of numbers."""
        ...

    def summary(self, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> None:
        """Log the table of all rows and the means over them."""
        ...

    def close(self, error: str = "") -> None:
        """Finish the record; always called, after an error with its one-line message."""
        ...
