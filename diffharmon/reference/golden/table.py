"""Compared quantities, and the table that shows them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Row:
    """One compared quantity: its error beside the tolerance it must not exceed."""

    case: str
    quantity: str
    error: float
    tolerance: float
    measure: str = "relative L2"

    @property
    def passed(self) -> bool:
        """Return whether the error is a number within the tolerance."""
        return self.error <= self.tolerance  # False for NaN


def relative(value: Tensor | np.ndarray, golden: np.ndarray | np.floating) -> float:
    """Relative L2 error, in float64; arrays of another size have infinite error."""
    given = np.asarray(torch.as_tensor(value).detach().cpu(), dtype=np.float64)
    expected = np.asarray(golden, dtype=np.float64)
    if given.size != expected.size:
        return float("inf")
    distance = np.linalg.norm(given.ravel() - expected.ravel())
    return float(distance) / max(float(np.linalg.norm(expected.ravel())), 1e-30)


def largest(value: Tensor | np.ndarray, golden: np.ndarray) -> float:
    """Largest absolute error."""
    given = np.asarray(torch.as_tensor(value).detach().cpu(), dtype=np.float64)
    if given.size != golden.size:
        return float("inf")
    return float(np.abs(given.ravel() - np.asarray(golden, dtype=np.float64).ravel()).max(initial=0))


def pixels(value: np.ndarray, golden: np.ndarray, case: str, quantity: str) -> list[Row]:
    """Compare 8-bit images: no value off by more than 1, and at most 0.5 % of them off at all."""
    difference = np.abs(np.asarray(value, dtype=int) - np.asarray(golden, dtype=int))
    return [
        Row(case, quantity, float(difference.max()), 1.0, "largest step of 255"),
        Row(case, quantity, float((difference > 0).mean()), 0.005, "share of values off"),
    ]


def render(rows: Iterable[Row]) -> str:
    """Draw the table as text."""
    rows = list(rows)
    width = max((len(row.quantity) for row in rows), default=8)
    lines, case = [], ""
    for row in rows:
        if row.case != case:
            case = row.case
            lines.append(f"\n{case}\n{'quantity':<{width}}  {'error':>9}  {'tolerance':>9}  measure")
        verdict = "" if row.passed else "  EXCEEDED"
        lines.append(f"{row.quantity:<{width}}  {row.error:9.1e}  {row.tolerance:9.1e}  {row.measure}{verdict}")
    return "\n".join(lines)
