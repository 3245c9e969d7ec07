"""A metric without ground truth."""

from collections.abc import Mapping
from typing import ClassVar

from diffharmon.columns import Column
from diffharmon.protocols import Sample


class Shift:
    """Measures how far the foreground's mean value moved; little is expected of a photo that was harmonious."""

    columns: ClassVar[tuple[Column, ...]] = (Column("shift", "shift", direction="lower", decimals=3),)
    statement = "mean of the foreground, result minus composite"

    def measure(self, sample: Sample) -> Mapping[str, float]:
        """Compare result and composite."""
        inside = sample.composite.mask[0] > 0.5
        return {"shift": float((sample.result - sample.composite.image)[:, inside].mean())}
