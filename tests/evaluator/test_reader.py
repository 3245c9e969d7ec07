"""The reader of light as an evaluator."""

import math

import pytest
import torch

from diffharmon.condition.reader import reading
from diffharmon.condition.reader.reading import view
from diffharmon.describer.reader import Reader as Describer
from diffharmon.errors import InputError
from diffharmon.evaluator.reader import Reader
from diffharmon.protocols import Evaluator
from diffharmon.types import Composite, Description

WORDS = Description("cat", ("dim",), ("bright",))


def picture(shift: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth scene of greys, whose square in the middle is darker by ``shift``."""
    rows, columns = torch.meshgrid(torch.linspace(0, 6, 160), torch.linspace(0, 6, 160), indexing="ij")
    scene = 0.55 + 0.12 * torch.stack([rows.sin(), (rows + columns).cos(), columns.sin()])
    mask = torch.zeros(1, 160, 160)
    mask[:, 50:110, 50:110] = 1
    return (scene - shift * mask).clamp(0, 1), mask


def test_a_darkened_square_is_less_harmonious_than_an_untouched_one():
    evaluator = Reader()
    assert isinstance(evaluator, Evaluator)
    untouched, darkened = (evaluator.score(*picture(shift), WORDS) for shift in (0.0, 0.4))
    assert 0 < darkened.value < untouched.value < 1
    logit = darkened.terms["logit"]
    assert 1 / (1 + math.exp(-logit)) == pytest.approx(darkened.value, rel=1e-4)


def test_what_the_describer_read_is_not_read_again(monkeypatch):
    image, mask = picture(0.3)
    describer, evaluator = Describer(), Reader()
    looked = []
    monkeypatch.setattr(reading, "view", lambda *given: looked.append(given) or view(*given))
    described = describer.describe(Composite("darkened", "", image, mask))
    score = evaluator.score(image, mask, described)
    assert len(looked) == 1
    assert evaluator.score(image.clone(), mask, described) == score
    assert len(looked) == 2


def test_a_mask_without_foreground_is_an_error():
    image, mask = picture(0.1)
    with pytest.raises(InputError, match="leaves no foreground"):
        Reader().score(image, torch.zeros_like(mask), WORDS)
