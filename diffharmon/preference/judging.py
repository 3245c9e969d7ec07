"""A vision-language model as a judge of pairs: every pair in both orders, every axis by a question of its own."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from PIL import Image, ImageChops, ImageFilter

from diffharmon.errors import DescriberError
from diffharmon.language_model.faults import AnswerError, RefusedError
from diffharmon.preference.answers import Answer, Choice

_log = logging.getLogger(__name__)

AXES: Mapping[str, str] = MappingProxyType(
    {
        "brightness": "In which one does the brightness of the object fit its surroundings better?",
        "colour": "In which one does the colour of the object fit the light of its surroundings better?",
        "plausibility": "Which one looks more like a photo that nobody altered?",
    }
)
QUESTION = (
    "The first picture shows a photo into which an object was put; a line marks the object. The second picture is "
    "version A and the third picture is version B of that photo; they differ in the light of the object. {axis} "
    "Answer with one letter: A, B, or T if there is no difference."
)
_ANSWER = re.compile(r"\W*(?:(?:the )?answer(?: is)?|version|picture)?\W*(A|B|T|tie)\W*", re.IGNORECASE)
_CHOICES: Mapping[str, Choice] = MappingProxyType({"a": "left", "b": "right", "t": "tie", "tie": "tie"})

Ask = Callable[[str, Sequence[Image.Image]], str]
"""Sends a question with pictures and returns the answer's text; raises ``DescriberError``."""


@dataclass(frozen=True)
class Judge:
    """Asks a model which of two pictures fits better.

    Attributes:
        ask: Asks the model once.
        axes: What is asked for, by names of ``AXES``.
        tries: How often the model may answer one question before it is left out.
    """

    ask: Ask
    axes: tuple[str, ...] = tuple(AXES)
    tries: int = 3

    def compare(
        self,
        image: str,
        first: tuple[str, Image.Image],
        second: tuple[str, Image.Image],
        composite: Image.Image,
    ) -> Iterator[Answer]:
        """Yield the model's choices on every axis in both orders; questions without a usable answer are left out.

        Args:
            image: The image's name.
            first: Label and picture of one run.
            second: Label and picture of the other.
            composite: What both were made from, the object outlined.

        Raises:
            DescriberError: The model cannot be asked at all.
        """
        for axis in self.axes:
            for left, right in ((first, second), (second, first)):
                try:
                    choice = self._choose(QUESTION.format(axis=AXES[axis]), [composite, left[1], right[1]])
                except (AnswerError, RefusedError) as error:
                    _log.warning("%s, %s against %s, %s: left out, %s", image, left[0], right[0], axis, error)
                    continue
                yield Answer(image, left[0], right[0], choice, axis)

    def _choose(self, question: str, pictures: Sequence[Image.Image]) -> Choice:
        said = ""
        for _ in range(self.tries):
            said = self.ask(question, pictures)
            try:
                return parse(said)
            except AnswerError:
                question = f"{question} One letter only."
        raise AnswerError(f"none of {self.tries} answers is A, B or T, the last {said[:80]!r}")


def parse(text: str) -> Choice:
    """Read an answer of one letter, with or without a few words around it.

    Raises:
        AnswerError: It is anything else.
    """
    found = _ANSWER.fullmatch(text.strip())
    if found is None:
        raise AnswerError(f"expected A, B or T, got {text[:80]!r}")
    return _CHOICES[found[1].lower()]


def outlined(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Draw a line around the object, white beside black so that it shows on any ground."""
    inside = mask.point(lambda value: 255 if value > 127 else 0)
    result = picture.copy()
    wide = max(round(max(picture.size) / 160), 1) * 2 + 1
    grown = inside.filter(ImageFilter.MaxFilter(wide))
    result.paste((0, 0, 0), mask=ImageChops.subtract(grown.filter(ImageFilter.MaxFilter(wide)), grown))
    result.paste((255, 255, 255), mask=ImageChops.subtract(grown, inside))
    return result


def preference(answers: Sequence[Answer], run: str) -> float:
    """Return how far a run was preferred to others, from -1 (never) to 1 (always); a tie is 0.

    Raises:
        DescriberError: There are no answers.
    """
    if not answers:
        raise DescriberError("the judge gave no usable answer")
    won = {"left": lambda answer: answer.left, "right": lambda answer: answer.right, "tie": lambda _: None}
    total = sum(0 if answer.choice == "tie" else (1 if won[answer.choice](answer) == run else -1) for answer in answers)
    return total / len(answers)
