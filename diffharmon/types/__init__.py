"""The values that flow from stage to stage, all frozen.

Glossary of shapes: ``b`` batch, ``h w`` height and width in pixels, of the photo or of the canvas (the size at which
the backbone works), ``y x`` latent cells of the canvas, ``rows columns`` attention cells, ``i`` sampling steps, ``n``
tokens, ``d`` embedding width. Images are RGB in [0, 1], large ones held as their file's `levels`; only
``Backbone.encode`` and ``decode`` know another range. Index i means step i in sampling order: step 0 is the noisiest.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from diffharmon.types.attention import AttentionRule as AttentionRule
from diffharmon.types.attention import Site as Site
from diffharmon.types.description import Description as Description
from diffharmon.types.guidance import Guidance as Guidance
from diffharmon.types.light import LightChange as LightChange
from diffharmon.types.sampling import Capabilities as Capabilities
from diffharmon.types.sampling import Schedule as Schedule
from diffharmon.types.sampling import Trajectory as Trajectory
from diffharmon.types.text import Text as Text


def _move(value: Tensor | None, device: torch.device | str) -> Tensor | None:
    return None if value is None else value.to(device)


@dataclass(frozen=True)
class Composite:
    """A photo with a foreground that does not belong, at its full size.

    Attributes:
        name: Unique within a dataset; names the output files.
        source: The dataset or subset it comes from.
        image: sRGB in [0, 1].
        mask: Foreground mask in [0, 1]; 1 is foreground. May be soft at the border.
        real: The photo as it really was, in [0, 1]; seen by metrics only.
        alpha: The image's own transparency in [0, 1], written back to the result.
        profile: The image's ICC colour profile, written back to the result.
        depth: Bits a sample of the image's file, 8 or 16; 32 is floating point.
        grey: Whether the image's file has no colour.
        mask_source: The part of the mask's file that was read, such as ``alpha``; empty where it came from no file.
        encoded: The file's own values, white at 1, in the colour space of ``profile``; None where that is sRGB.
        linear: Whether ``encoded`` is scene-linear light, which may exceed 1.
        metadata: The file's ``exif``, ``xmp`` and (OpenEXR) ``chromaticities``, written back to the result.
    """

    name: str
    source: str
    image: Float[Tensor, "3 h w"]
    mask: Float[Tensor, "1 h w"]
    real: Float[Tensor, "3 h w"] | None = None
    alpha: Float[Tensor, "1 h w"] | None = None
    profile: bytes | None = None
    depth: int = 8
    grey: bool = False
    mask_source: str = ""
    encoded: Float[Tensor, "3 h w"] | None = None
    linear: bool = False
    metadata: Mapping[str, bytes] = field(default_factory=dict)

    def blind(self) -> "Composite":
        """Return the composite without its ground truth."""
        return replace(self, real=None)

    def to(self, device: torch.device | str) -> "Composite":
        """Return the composite with its tensors on ``device``."""
        return replace(
            self,
            image=self.image.to(device),
            mask=self.mask.to(device),
            real=_move(self.real, device),
            alpha=_move(self.alpha, device),
            encoded=_move(self.encoded, device),
        )

    def in_srgb(self) -> "Composite":
        """Return the composite without its file's own colour space."""
        profile = self.profile if self.encoded is None else None
        return replace(self, encoded=None, linear=False, profile=profile)


@dataclass(frozen=True)
class WordSpans:
    """Token positions of the condition words in the two prompts, one tuple of positions a word.

    ``parts`` holds the first position and the one after the last of each text encoder's part of the sequence, where
    encoders stand one after the other and a word has positions in several; it is empty for one part.
    """

    foreground: Mapping[str, tuple[int, ...]]
    background: Mapping[str, tuple[int, ...]]
    parts: tuple[tuple[int, int], ...] = ()

    @property
    def foreground_positions(self) -> tuple[int, ...]:
        """All condition-token positions of the foreground prompt, ascending."""
        return tuple(sorted(p for span in self.foreground.values() for p in span))

    @property
    def background_positions(self) -> tuple[int, ...]:
        """All condition-token positions of the background prompt, ascending."""
        return tuple(sorted(p for span in self.background.values() for p in span))

    def by_part(self, positions: Sequence[int]) -> list[list[int]]:
        """Return the indices into ``positions`` that belong to each part; parts without any are left out."""
        if not self.parts:
            return [list(range(len(positions)))]
        shares = [[i for i, p in enumerate(positions) if first <= p < end] for first, end in self.parts]
        return [share for share in shares if share]


@dataclass(frozen=True)
class Conditioning:
    """Embedded prompts of every sampling step, a row a step: foreground, background and empty (unconditional)."""

    foreground: Text
    background: Text
    unconditional: Text
    description: Description
    words: WordSpans

    def prompts(self, step: int) -> Text:
        """Return both prompts of a step: foreground (source branch), background (edited branch)."""
        return Text.cat([self.foreground[step], self.background[step]])


Loss = Callable[[Float[Tensor, "1 3 h w"]], Float[Tensor, ""]]


@dataclass(frozen=True)
class StructureGuidance:
    """What keeps the structure of one image while it is edited.

    Attributes:
        losses: Weighted differentiable losses on the decoded image in [0, 1], by name; null-text adds them up.
        rules: Attention rules of the edit.
    """

    losses: Mapping[str, Loss] = field(default_factory=dict)
    rules: tuple[AttentionRule, ...] = ()


@dataclass(frozen=True)
class Inversion:
    """One image at the canvas's size: what an embedding optimizer may look at.

    Attributes:
        image: The image that was inverted, RGB in [0, 1].
        mask: Binary foreground mask at image size.
        latent_mask: Binary foreground mask at latent size.
        trajectory: The inversion of ``image``.
        structure: What keeps the structure of ``image`` during the edit.
    """

    image: Float[Tensor, "3 h w"]
    mask: Float[Tensor, "1 h w"]
    latent_mask: Float[Tensor, "1 y x"]
    trajectory: Trajectory
    structure: StructureGuidance


@dataclass(frozen=True)
class Edit:
    """Somebody's edited picture of a composite, of any size, and the words that it followed, if any were said."""

    picture: Float[Tensor, "3 v u"]
    description: Description | None = None


@dataclass(frozen=True)
class Edited:
    """The two branches of an edit, decoded at the canvas's size, RGB in [0, 1].

    Attributes:
        source: The source branch (foreground prompt): what the model makes of the image as it is. None where the
            recomposer does not read it.
        edited: The edited branch (background prompt).
        source_image: The image that was inverted, at the same size.
        description: The words that the edit followed; None where nothing was said.
    """

    source: Float[Tensor, "3 h w"] | None
    edited: Float[Tensor, "3 h w"]
    source_image: Float[Tensor, "3 h w"]
    description: Description | None = None


@dataclass(frozen=True)
class Score:
    """A judgement of harmony; ``terms`` holds what it was made of."""

    value: float
    terms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Attempt:
    """One pass of the method over one image; ``words`` holds attention maps.

    ``iteration`` and ``number`` count from 0, -1 is the untouched composite; ``number`` is unique within an image.
    """

    iteration: int
    image: Float[Tensor, "3 h w"]
    score: Score
    description: Description
    edited: Edited | None = None
    words: Mapping[str, Float[Tensor, "rows columns"]] = field(default_factory=dict)
    number: int = field(kw_only=True)


@dataclass(frozen=True)
class Cost:
    """What a stage cost: wall seconds, calls of the network and samples in them."""

    seconds: float = 0.0
    network_calls: int = 0
    network_samples: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.seconds + other.seconds,
            self.network_calls + other.network_calls,
            self.network_samples + other.network_samples,
        )


@dataclass(frozen=True)
class Variant:
    """A result to choose: ``strength`` is relative to the configured one, 0 for the untouched composite."""

    image: Float[Tensor, "3 h w"]
    description: Description
    score: Score
    strength: float


@dataclass(frozen=True)
class Outcome:
    """Everything a method did to one composite; ``best`` is what it returns, ``variants`` what one may choose from."""

    best: Attempt
    attempts: tuple[Attempt, ...]
    reason: str
    costs: Mapping[str, Cost] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()


@dataclass(frozen=True)
class Event:
    """A step of a running stage, for progress bars and recorders; tensors are detached and must not be written to."""

    stage: str
    step: int
    steps: int
    values: Mapping[str, Tensor | float]


@dataclass(frozen=True)
class Sample:
    """What a metric looks at: a composite with its ground truth where known, a result of its size, and the words."""

    composite: Composite
    result: Float[Tensor, "3 h w"]
    description: Description

    def unchanged(self) -> "Sample":
        """Return the sample with the composite itself as the result."""
        return replace(self, result=self.composite.image)


Observer = Callable[[Event], None]


class Watcher:
    """Follows a method through one image: receives events, surrounds each stage. This one ignores everything."""

    def __call__(self, event: Event) -> None:
        """Receive one event."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Surround one stage; the same name may come again."""
        return nullcontext()


ignore = Watcher()


@dataclass(frozen=True)
class TokenEdit:
    """Input embeddings (token + position, before the transformer) of some token positions of one prompt, replaced."""

    positions: tuple[int, ...]
    vectors: Float[Tensor, "k d"]
