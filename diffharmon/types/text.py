"""Embedded prompts as a value that only a backbone, and what optimizes embeddings, opens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

T = TypeVar("T", bound="Text")


@dataclass(frozen=True)
class Text:
    """Embedded prompts, one a row; everything that a loop does with prompts is a method here.

    A family of backbones that needs more than tokens and a pooled vector derives from this class and adds fields:
    tensors whose first dimension counts the rows too, or None. All methods then carry them along.

    Attributes:
        tokens: What the network's attention reads.
        pooled: One vector a prompt, where the network takes one.
    """

    tokens: Float[Tensor, "rows n d"]
    pooled: Float[Tensor, "rows p"] | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.tokens)

    def __getitem__(self: T, row: int) -> T:
        """Return one row as a text of one row; negative numbers count from the end."""
        row = range(len(self))[row]
        return self.map(lambda values: values[row : row + 1])

    def __iter__(self: T) -> Iterator[T]:
        """Walk the rows, each a text of one row."""
        return (self[row] for row in range(len(self)))

    def expand(self: T, rows: int) -> T:
        """Repeat a text of one row without copying it."""
        return self.map(lambda values: values.expand(rows, *values.shape[1:]))

    def detach(self: T) -> T:
        """Copy the values out of the graph; what changes in place later does not reach the copy."""
        return self.map(lambda values: values.detach().clone())

    def map(self: T, change: Callable[[Tensor], Tensor]) -> T:
        """Return a text of the same family with every tensor changed."""
        present = {name: values for name, values in self.tensors().items() if values is not None}
        return replace(self, **{name: change(values) for name, values in present.items()})

    def tensors(self) -> dict[str, Tensor | None]:
        """Return all tensors by the name of their field; None where a text has none."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def cat(texts: Sequence[T]) -> T:
        """Put the rows of texts of one family below each other.

        Raises:
            ValueError: Some of them have a tensor that others lack.
        """
        joined = {}
        for name in texts[0].tensors():
            values = [text.tensors()[name] for text in texts]
            present = [value for value in values if value is not None]
            if present and len(present) < len(values):
                raise ValueError(f"one batch cannot hold texts with and without {name!r}")
            if present:
                joined[name] = torch.cat(present)
        return replace(texts[0], **joined)
