"""A composite and attempts for the describers' tests."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from diffharmon.types import Attempt, Composite, Description, Score

# Test modules import the small servers and toys that stand beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def composite() -> Composite:
    """A 48 x 64 composite: a bright square on a dark ground."""
    generator = torch.Generator().manual_seed(0)
    image = 0.2 + 0.1 * torch.rand(3, 48, 64, generator=generator)
    mask = torch.zeros(1, 48, 64)
    mask[:, 12:36, 20:44] = 1
    return Composite("subset/photo", "test", (image + 0.6 * mask).clamp(0, 1), mask)


@pytest.fixture
def attempt() -> Callable[..., Attempt]:
    """Make an attempt with a description and a score."""

    def make(description: Description, score: float = 0.0, iteration: int = 0) -> Attempt:
        return Attempt(iteration, torch.zeros(3, 4, 4), Score(score), description, number=iteration)

    return make
