"""What a describer gives: words for the light of both sides, possibly weighted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from diffharmon.types.light import LightChange
from diffharmon.types.words import read_words, write_words


@dataclass(frozen=True)
class Description:
    """The imaging conditions of foreground and background in words (paper section 3.1).

    Attributes:
        object: Name of the foreground object, such as ``"cat"``.
        foreground: Words for the light the foreground was taken in.
        background: Words for the light of the scene around it.
        describer: Name of the describer that made it, for the record.
        user_provided: Whether a user gave the words, which are then followed whatever the composite's score.
        foreground_weights: How much each foreground word counts, 1 fully; empty where all do.
        background_weights: The same of the background's words.
        change: The change of light that the words stand for, where it is known in numbers.
        residual: Root mean square on [0, 1] of what the words leave out of ``change``.

    Raises:
        ValueError: when there are weights but not one for each word.
    """

    object: str
    foreground: tuple[str, ...]
    background: tuple[str, ...]
    describer: str = ""
    user_provided: bool = False
    foreground_weights: tuple[float, ...] = ()
    background_weights: tuple[float, ...] = ()
    change: LightChange | None = field(default=None, compare=False, repr=False)
    residual: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for words, weights in (self.foreground, self.foreground_weights), (self.background, self.background_weights):
            if weights and len(weights) != len(words):
                raise ValueError(f"expected a weight for each of {words}, got {weights}")

    @property
    def foreground_prompt(self) -> str:
        """The object under the foreground's condition."""
        return " ".join((self.object, *self.foreground))

    @property
    def background_prompt(self) -> str:
        """The object under the background's condition."""
        return " ".join((self.object, *self.background))

    @property
    def foreground_weighted(self) -> dict[str, float]:
        """Weight by foreground word."""
        return dict(zip(self.foreground, self.foreground_weights or (1.0,) * len(self.foreground), strict=True))

    @property
    def background_weighted(self) -> dict[str, float]:
        """Weight by background word."""
        return dict(zip(self.background, self.background_weights or (1.0,) * len(self.background), strict=True))

    def first(self, count: int) -> "Description":
        """Return the description with at most this many words a side."""
        names = ("foreground", "background", "foreground_weights", "background_weights")
        return replace(self, **{name: getattr(self, name)[:count] for name in names})

    def row(self) -> dict[str, Any]:
        """Return the description as files of descriptions, records and caches hold it."""
        row: dict[str, Any] = {"object": self.object}
        for side in ("foreground", "background"):
            row[side] = write_words(getattr(self, side), getattr(self, f"{side}_weights"))
        return row | {"describer": self.describer} | ({} if self.residual is None else {"residual": self.residual})

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Description":
        """Read a description back; raises ``KeyError`` or ``TypeError`` for anything that ``row`` does not return."""
        foreground, front = read_words(row["foreground"])
        background, back = read_words(row["background"])
        return cls(
            str(row["object"]),
            foreground,
            background,
            str(row["describer"]),
            foreground_weights=front,
            background_weights=back,
        )
