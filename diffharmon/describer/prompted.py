"""A vision-language model as describer: request, parse strictly, retry, cache, fall back."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from diffharmon.describer import answer, cache, words
from diffharmon.describer import prompt as prompts
from diffharmon.errors import ConfigError, DescriberError
from diffharmon.language_model.faults import AnswerError
from diffharmon.protocols import Describer
from diffharmon.types import Attempt, Composite, Description

_log = logging.getLogger(__name__)
_MAX_STORED_ATTEMPTS = 100

Send = Callable[[str, Sequence[Image.Image]], str]
"""Sends the prompt with the composite and the mask, returns the answer's text; raises `DescriberError`."""


@dataclass(frozen=True)
class PromptedDescriber:
    """Turns the answers of a vision-language model into descriptions.

    Attributes:
        name: Name of the describer, for the record.
        model: The model, part of the key under which descriptions are stored.
        send: Asks the model once.
        prompt: The prompt template; None is the built-in one.
        width: Width in pixels at which composite and mask are sent.
        answers: How often the model may answer before its answers count as unusable.
        folder: Where descriptions are stored; None stores none.
        fallback: Describer for images that this model cannot describe.
    """

    name: str
    model: str
    send: Send
    prompt: str | None = None
    width: int = 1024
    answers: int = 3
    folder: str | None = None
    fallback: Describer | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.answers < 1:
            raise ConfigError(
                f"describer: expected width and answers of at least 1, got {self.width} and {self.answers}"
            )

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite differently from everything in ``previous``.

        Raises:
            DescriberError: when the model gave no usable description and there is no fallback.
        """
        try:
            return self._stored(composite, previous)
        except DescriberError as error:
            if self.fallback is None:
                raise DescriberError(f"{self.name} cannot describe {composite.name}: {error}") from None
            _log.warning("%s cannot describe %s: %s; the fallback takes over", self.name, composite.name, error)
        description = self.fallback.describe(composite, previous)
        return replace(description, describer=f"{description.describer} (fallback for {self.name})")

    def _stored(self, composite: Composite, previous: Sequence[Attempt]) -> Description:
        if self.folder is None:
            return self._ask(composite, previous)
        store = cache.Cache(self.folder)
        version = prompts.version(self.prompt or prompts.PROMPT)
        before = words.tried(previous)
        # A stored description made after another history may be one that was tried here: take the next place.
        for attempt in range(len(before), _MAX_STORED_ATTEMPTS):
            key = cache.key(composite, self.model, version, attempt)
            description = store.get_or_make(key, lambda: self._ask(composite, previous))
            if not any(words.same(description, other) for other in before):
                return description
        raise DescriberError(f"all of {_MAX_STORED_ATTEMPTS} stored descriptions were tried")

    def _ask(self, composite: Composite, previous: Sequence[Attempt]) -> Description:
        pictures = prompts.pictures(composite, self.width)
        before = words.tried(previous)
        complaint = ""
        for _ in range(self.answers):
            text = self.send(prompts.compose(self.prompt or prompts.PROMPT, previous, complaint), pictures)
            try:
                description = answer.parse(text)
            except AnswerError as error:
                complaint = str(error)
            else:
                if not any(words.same(description, other) for other in before):
                    return replace(description, describer=self.name)
                complaint = "it repeats a description that was tried"
            _log.info("%s on %s: %s", self.name, composite.name, complaint)
        raise AnswerError(f"none of {self.answers} answers could be used, the last because {complaint}")
