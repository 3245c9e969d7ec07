"""What a call of ``Harmonizer`` returns."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from diffharmon import images
from diffharmon.api.pictures import Loaded, give_back
from diffharmon.images import layers
from diffharmon.images.lut import POINTS, Lut, fit
from diffharmon.types import Attempt, Composite, Description, Outcome, Variant
from diffharmon.types.levels import floats

_PREVIEW = 480  # longer side of the pictures that a notebook shows, pixels


@dataclass(frozen=True)
class Result:
    """A harmonized composite.

    Attributes:
        composite: What was harmonized.
        harmonized: The result, RGB in [0, 1].
        words: The description that the result follows; empty for methods without words.
        score: The evaluator's score; higher is more harmonious.
        reason: Why the method stopped.
        source: The picture that came in.
        strength: How far it goes relative to what was asked for: 1 fully, 0 for the untouched composite.
        variants: Results to choose from, this one among them: those asked for, else all attempts in order.
        attention: Where each word attends, by side and word, such as ``background warm``.
    """

    composite: Composite = field(repr=False)
    harmonized: Float[Tensor, "3 h w"] = field(repr=False)
    words: Description
    score: float
    reason: str
    source: Loaded = field(repr=False)
    strength: float = 1.0
    variants: tuple["Result", ...] = field(default=(), repr=False)
    attention: Mapping[str, Float[Tensor, "rows columns"]] = field(default_factory=dict, repr=False)

    @property
    def image(self) -> Any:
        """The result as the kind of picture that came in; a PIL image for files."""
        return give_back(self.harmonized, self.composite, self.source.kind)

    def save(self, path: str | Path) -> Path:
        """Write the result at the input's depth, in its colour space, with its transparency and metadata.

        Args:
            path: Its ending names the format: .png, .tif, .exr for linear light, or .psd for composite, result and mask
                as layers.

        Raises:
            ValueError: The ending is not one of a format that holds the depth.
            InputError: The format needs an extra that is not installed.
        """
        path = Path(path)
        if path.suffix.lower() == layers.SUFFIX:
            return layers.write_layers(path, self.composite, images.own_values(self.composite, self.harmonized))
        images.write_result(path, self.composite, self.harmonized)
        return path

    def lut(self, points: int = POINTS) -> Lut:
        """Fit the change of the foreground's colours as a lookup table; ``Lut.error`` measures how well that fits."""
        return fit(self.composite.image, self.harmonized, self.composite.mask, points)

    def _repr_html_(self) -> str:
        """Show before and after beside each other in a notebook."""
        pair = (("composite", self.composite.image), ("harmonized", self.harmonized))
        cells = "".join(
            f'<figure style="margin:0 8px 0 0">{_inline(picture)}{title}</figure>' for title, picture in pair
        )
        words = " ".join(self.words.foreground), " ".join(self.words.background)
        said = f"from <i>{escape(words[0])}</i> to <i>{escape(words[1])}</i>; " if all(words) else ""
        return f'<div style="display:flex">{cells}</div><p>{said}{escape(self.reason)}</p>'


def result_of(outcome: Outcome, composite: Composite, source: Loaded) -> Result:
    """Return a method's best result with those to choose from: the variants asked for, else all attempts.

    Args:
        outcome: What the method did.
        composite: What was harmonized.
        source: The picture that the result is given back as.
    """
    if outcome.best.image.shape != composite.image.shape:  # a method that works on a smaller copy, as the public code
        composite = images.squash(composite, (outcome.best.image.shape[-2], outcome.best.image.shape[-1]))
    choices: Sequence[Attempt | Variant] = outcome.variants or outcome.attempts
    pictures = [floats(choice.image).cpu() for choice in choices]  # plain tensors, which the caller may write to
    results = tuple(
        Result(composite, image, choice.description, choice.score.value, outcome.reason, source, strength)
        for choice, image, strength in zip(choices, pictures, map(strength_of, choices), strict=True)
    )
    best = next(number for number, choice in enumerate(choices) if choice.image is outcome.best.image)
    maps = outcome.best.words or next((attempt.words for attempt in outcome.attempts if attempt.words), {})
    attention = {word: values.cpu() for word, values in maps.items()}
    return replace(results[best], variants=results, attention=attention)


def strength_of(choice: Attempt | Variant) -> float:
    """Return how far a result goes, as `Result.strength` counts."""
    return choice.strength if isinstance(choice, Variant) else float(choice.iteration >= 0)


def _inline(picture: Float[Tensor, "3 h w"]) -> str:
    array = images.to_uint8(picture).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(array)
    image.thumbnail((_PREVIEW, _PREVIEW))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"><br>'
