"""What a call of ``Harmonizer`` returns."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from diffharmon import images
from diffharmon.api.pictures import Loaded, give_back
from diffharmon.images import layers
from diffharmon.images.lut import POINTS, Lut, fit
from diffharmon.types import Composite, Description

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
        variants: Results to choose from, this one among them: those asked for, else all attempts in order.
        attention: Where each word attends, by side and word, such as ``background warm``.
    """

    composite: Composite
    harmonized: Float[Tensor, "3 h w"]
    words: Description
    score: float
    reason: str
    source: Loaded = field(repr=False)
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
        return f'<div style="display:flex">{cells}</div>'


def _inline(picture: Float[Tensor, "3 h w"]) -> str:
    array = images.to_uint8(picture).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(array)
    image.thumbnail((_PREVIEW, _PREVIEW))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"><br>'
