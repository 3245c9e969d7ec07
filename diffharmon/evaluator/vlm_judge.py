"""Harmony as a vision-language model judges it: every result against the composite that it was made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le, MinLen
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from diffharmon import images
from diffharmon.errors import InputError
from diffharmon.language_model.genai import GenAI, asker
from diffharmon.language_model.local import LocalModel
from diffharmon.language_model.retry import Pace, Retry
from diffharmon.preference.judging import Ask, Judge, outlined, preference
from diffharmon.types import Composite, Description, Score

RESULT, COMPOSITE = "result", "composite"
Axes = Annotated[Sequence[Literal["brightness", "colour", "plausibility"]], MinLen(1)]


@dataclass(frozen=True)
class Beside:
    """Judges results of one composite against it.

    Attributes:
        judge: Asks the model.
        composite: The composite.
        side: Longer side of the pictures in pixels.
    """

    judge: Judge
    composite: Composite
    side: int

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return how far the image is preferred to the composite, in [-1, 1], and the same of every axis as a term.

        The composite itself has 0. Every axis is asked for in both orders; the description plays no part.

        Raises:
            DescriberError: The model cannot be asked or gave no usable answer.
        """
        if torch.equal(image.cpu(), self.composite.image.cpu()):
            return Score(0.0)
        before, after = (_picture(one, self.side) for one in (self.composite.image, image))
        shown = outlined(before, _picture(mask.expand(3, -1, -1), self.side).convert("L"))
        answers = list(self.judge.compare(self.composite.name, (RESULT, after), (COMPOSITE, before), shown))
        value = preference(answers, RESULT)
        axes = {answer.axis for answer in answers}
        by_axis = {axis: preference([one for one in answers if one.axis == axis], RESULT) for axis in sorted(axes)}
        return Score(value, by_axis)


class _Judging:
    """What both kinds of model share."""

    def __init__(self, ask: Ask, axes: Sequence[str], tries: int, side: int) -> None:
        self.judge = Judge(ask, tuple(axes), tries)
        self.side = side

    def beside(self, composite: Composite) -> Beside:
        """Return the evaluator of this composite's results."""
        return Beside(self.judge, composite, self.side)

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Refuse: one picture alone cannot be compared.

        Raises:
            InputError: Always; ``beside`` returns what scores.
        """
        raise InputError("a judge compares a result with its composite; expected the evaluator that beside() returns")


class VLMJudge(_Judging):
    """A local image-text-to-text model that takes three pictures in one question.

    Args:
        model: Folder or hub id of a model with a chat template.
        axes: What is asked for.
        tries: How often the model may answer one question before it is left out.
        side: Longer side of the pictures in pixels.
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for an accelerator where there is one.
        dtype: Precision of the weights.
        revision: Commit or tag of a hub model.
    """

    def __init__(
        self,
        model: str,
        axes: Axes = ("brightness", "colour", "plausibility"),
        tries: Annotated[int, Ge(1)] = 3,
        side: Annotated[int, Ge(32), Le(4096)] = 640,
        device: str = "auto",
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        revision: str | None = None,
    ) -> None:
        local = LocalModel(model, "evaluator.model", revision, device, dtype, temperature=0.0, max_new_tokens=8)
        super().__init__(local.ask, axes, tries, side)


class GeminiJudge(_Judging):
    """A Gemini model through ``google-genai`` (extra ``google-genai``), which composite and results are sent to.

    Args:
        model: Name of the model.
        axes: What is asked for.
        tries: How often the model may answer one question before it is left out.
        side: Longer side of the pictures in pixels.
        attempts: Requests for one answer when the service is busy or out of reach.
        timeout: Seconds to wait for a reply.
        endpoint: Address of another server with the same interface; None means Google's.
    """

    def __init__(
        self,
        model: str = "gemini-2.5-flash",
        axes: Axes = ("brightness", "colour", "plausibility"),
        tries: Annotated[int, Ge(1)] = 3,
        side: Annotated[int, Ge(32), Le(4096)] = 640,
        attempts: Annotated[int, Ge(1)] = 5,
        timeout: Annotated[float, Ge(0.1)] = 60.0,
        endpoint: str | None = None,
    ) -> None:
        client = GenAI(model, "evaluator.model", endpoint, timeout, Pace(0.0))
        super().__init__(asker(client, Retry(attempts)), axes, tries, side)


def _picture(image: Float[Tensor, "3 h w"], side: int) -> Image.Image:
    height, width = image.shape[-2:]
    scale = min(side / max(height, width), 1)
    sides = (max(round(height * scale), 1), max(round(width * scale), 1))
    small = images.to_uint8(images.resize(image, sides))
    return Image.fromarray(small.permute(1, 2, 0).cpu().numpy())
