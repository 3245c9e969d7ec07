"""The kinds of component, one protocol each; a kind is a package folder and a config group of the same name."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from diffharmon.columns import Column
from diffharmon.types import (
    Attempt,
    AttentionRule,
    Capabilities,
    Composite,
    Conditioning,
    Description,
    Edit,
    Edited,
    Guidance,
    Inversion,
    Observer,
    Outcome,
    Sample,
    Schedule,
    Score,
    StructureGuidance,
    Text,
    TokenEdit,
    Trajectory,
    WordSpans,
    ignore,
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

    def observe(self, forward: Callable[[], object], whole: bool = False) -> None:
        """Run a forward pass of which only the maps count; unless ``whole``, it may end after the last of them."""
        ...

    def maps(self, canvas: tuple[int, int], cells: int = 256) -> Float[Tensor, "b rows columns n"]:
        """Return recorded attention probabilities, averaged over heads of the layers nearest to ``cells`` cells.

        Args:
            canvas: Height and width of the latents that the network was given.
            cells: Number of attention cells, for example 256 for 16 x 16.
        """
        ...


@runtime_checkable
class Backbone(Protocol):
    """A frozen text-to-image diffusion model; also an ``nn.Module``.

    Nothing in it is under ``no_grad``: the loops decide. ``network`` is the module whose calls are counted, ``cell``
    the side of a latent cell in pixels, ``resolution_multiple`` what both sides of a canvas are multiples of, and
    ``noise_schedule`` what the model was trained with, in the names of diffusers' schedulers.
    """

    capabilities: ClassVar[Capabilities]
    cell: int
    resolution_multiple: int
    network: nn.Module
    noise_schedule: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def canvas_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width in pixels at which the model works on a photo of this size."""
        ...

    def encode(
        self, image: Float[Tensor, "b 3 h w"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "b c y x"]:
        """Encode images in [0, 1]; with a generator the posterior is sampled, else its mode is taken."""
        ...

    def decode(self, latent: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 3 h w"]:
        """Decode to [0, 1], not clamped."""
        ...

    def embed(self, prompts: Sequence[str], edits: Sequence[TokenEdit | None] = ()) -> Text:
        """Embed prompts, with some of their input token embeddings replaced."""
        ...

    def input_embeddings(self, prompt: str, positions: Sequence[int]) -> Float[Tensor, "k d"]:
        """Token plus position embeddings at ``positions``, as ``embed`` would feed them to the transformer."""
        ...

    def words(self, description: Description) -> WordSpans:
        """Find the condition words' tokens in both prompts."""
        ...

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict the model output (noise or velocity) at one of a schedule's timesteps, a row of text a latent."""
        ...

    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = (), steps: int = 1
    ) -> AbstractContextManager[AttentionStore]:
        """Put rules on the attention layers inside a ``with``.

        Args:
            rules: What happens where and when.
            sources: For each batch row the row that it follows under a ``replace`` rule.
            steps: Number of sampling steps, which the rules' fractions refer to.
        """
        ...


@runtime_checkable
class Sampler(Protocol):
    """How latents move between image and noise."""

    def schedule(self, backbone: Backbone) -> Schedule:
        """Lay out the steps for a model; raises ``ConfigError`` where the model does not have them."""
        ...

    def invert(
        self,
        backbone: Backbone,
        latent: Float[Tensor, "1 c y x"],
        conditioning: Conditioning,
        guidance: Guidance,
        observe: Observer = ignore,
    ) -> Trajectory:
        """Invert a clean latent to noise under the foreground prompt."""
        ...

    def edit(
        self,
        backbone: Backbone,
        trajectory: Trajectory,
        conditioning: Conditioning,
        guidance: Guidance,
        rules: Sequence[AttentionRule] = (),
        observe: Observer = ignore,
    ) -> Float[Tensor, "2 c y x"]:
        """Denoise source branch (foreground prompt) and edited branch (background prompt) side by side.

        Attention rules hold throughout, and the edited branch follows the source branch. Returns the clean latents:
        source branch, edited branch.
        """
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

    def guide(self, composite: Composite, size: tuple[int, int]) -> StructureGuidance:
        """Measure the structure of ``composite.image`` (the image of this iteration) at this height and width."""
        ...


@runtime_checkable
class EdgeDetector(Protocol):
    """Edges of an image, differentiable in it; `EdgeLoss` makes a structure part of it."""

    def __call__(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Return the edge map of RGB images in [0, 1]."""
        ...


@runtime_checkable
class Recomposer(Protocol):
    """Puts the edited foreground back into the untouched photo.

    One that looks at the edited branch alone may say so with a class attribute ``reads_source = False``.
    """

    def recompose(
        self, composite: Composite, current: Float[Tensor, "3 h w"], edited: Edited
    ) -> Float[Tensor, "3 h w"]:
        """Return the photo at full size with its foreground harmonized and its background (mask 0) bit for bit.

        Args:
            composite: The original photo and mask.
            current: The image of this iteration's start at full size (the composite, or an earlier result).
            edited: The branches of the edit at the canvas's size, squashed from ``current``.
        """
        ...


@runtime_checkable
class EditSource(Protocol):
    """Where edited pictures of composites come from; `method=editor` brings them back to the photos."""

    def edit(self, composite: Composite) -> Edit:
        """Return an edited picture of the composite, of any size and not necessarily in place."""
        ...


@runtime_checkable
class Evaluator(Protocol):
    """Judges harmony without ground truth; a higher score is better.

    One that compares has ``beside(composite)``, which returns the evaluator of that composite's results.
    """

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Score one image; a metric with ground truth is no evaluator."""
        ...


@runtime_checkable
class Method(Protocol):
    """Harmonizes one composite, or several by ``harmonize_batch`` (`method.batch`); the ground truth is never seen."""

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Return the best attempt and everything tried on the way."""
        ...


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
