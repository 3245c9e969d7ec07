"""Gemini as describer, for either SDK: settings, retries, pace, and how errors read."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le
from PIL import Image

from diffharmon.describer.prompted import PromptedDescriber
from diffharmon.language_model import service
from diffharmon.language_model.retry import Pace, Retry
from diffharmon.protocols import Describer
from diffharmon.types import Attempt, Composite, Description


class GeminiService(ABC):
    """Asks Gemini as the paper does (section 3.1); a subclass sends the request through one SDK.

    The key is read from ``GOOGLE_API_KEY`` or ``GEMINI_API_KEY`` for each request; this object does not
    keep it.

    Args:
        model: Name of the model.
        temperature: Sampling temperature (0.3 in the public code); None leaves it to the model, as newer ones demand.
        top_p: Nucleus sampling (1 in the public code), or None.
        top_k: Number of candidates in sampling (64 in the public code), or None.
        prompt: Prompt template with ``{vocabulary}`` where the word lists go; None is the built-in one.
        width: Width in pixels at which composite and mask are sent (1024 in the public code).
        answers: How often the model may answer before its answers count as unusable.
        attempts: Requests for one answer when the service is busy or out of reach.
        first_delay: Seconds before the second request; doubles from then on, with jitter.
        longest_delay: Upper bound on a wait in seconds.
        requests_per_minute: Upper bound over all threads of one process; 0 for none.
        timeout: Seconds to wait for a reply.
        endpoint: Address of another server with the same interface; None means Google's.
        cache: Folder of stored descriptions; None stores none.
        fallback: Who describes an image when this model cannot; None makes that an error.
    """

    label: ClassVar[str]
    """Name of the describer, for the record."""

    def __init__(
        self,
        model: str = service.DEFAULT_MODEL,
        temperature: Annotated[float, Ge(0)] | None = 0.3,
        top_p: Annotated[float, Gt(0), Le(1)] | None = 1.0,
        top_k: Annotated[int, Ge(1)] | None = 64,
        prompt: str | None = None,
        width: Annotated[int, Ge(1), Le(16384)] = 1024,
        answers: Annotated[int, Ge(1)] = 3,
        attempts: Annotated[int, Ge(1)] = 5,
        first_delay: Annotated[float, Ge(0)] = 1.0,
        longest_delay: Annotated[float, Ge(0)] = 60.0,
        requests_per_minute: Annotated[float, Ge(0)] = 0.0,
        timeout: Annotated[float, Gt(0)] = 60.0,
        endpoint: str | None = None,
        cache: str | None = None,
        fallback: Describer | None = None,
    ) -> None:
        self.model = model
        sampling = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        self.sampling: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
        self.timeout = timeout
        self.endpoint = endpoint
        self.retry = Retry(attempts, first_delay, longest_delay)
        self.pace = Pace(requests_per_minute)
        self.describer = PromptedDescriber(
            f"{self.label} ({model})", model, self._send, prompt, width, answers, cache, fallback
        )

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite differently from everything in ``previous``.

        Raises:
            DescriberError: when the model gave no usable description and there is no fallback.
        """
        return self.describer.describe(composite, previous)

    @abstractmethod
    def _request(self, text: str, files: Sequence[bytes]) -> str:
        """Send one request, the prompt and two PNG files, and return the answer's text; raises ``DescriberError``."""

    def _send(self, text: str, pictures: Sequence[Image.Image]) -> str:
        files = [service.encode(picture) for picture in pictures]
        return self.retry.run(lambda: self._request(text, files))

    def _connection(self) -> tuple[str, str, str | None, float]:
        return self.model, "describer.model", self.endpoint, self.timeout
