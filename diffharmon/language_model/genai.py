"""A model behind google-genai, the maintained SDK: one request, its faults as ours, and what a reply holds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from diffharmon.language_model import key, service
from diffharmon.language_model.retry import Pace, Retry


@dataclass(frozen=True)
class GenAI:
    """A model that answers text and pictures; the key is read from the environment for each request.

    Attributes:
        model: Its name.
        setting: The setting that names it, for messages.
        endpoint: Address of another server with the same interface; None means Google's.
        timeout: Seconds to wait for a reply.
        pace: Bounds the requests of all threads.
    """

    model: str
    setting: str
    endpoint: str | None
    timeout: float
    pace: Pace

    def ask(self, text: str, files: Sequence[bytes], settings: Mapping[str, Any]) -> list[Any]:
        """Send one request and return the parts of the answer, none where it is empty.

        Args:
            text: The question.
            files: Pictures as PNG files.
            settings: What ``GenerateContentConfig`` takes.

        Raises:
            TransientError: The service is busy or out of reach.
            RefusedError: It withheld its answer.
            DescriberError: The SDK or the key is missing, or the service does not accept the request.
        """
        try:
            import httpx2
            from google.genai import Client, errors, types
        except ImportError:
            raise service.missing("google-genai", "google-genai") from None

        service.quiet_transport()
        options = types.HttpOptions(
            base_url=self.endpoint,
            timeout=max(int(self.timeout * 1000), 1),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        contents: list[Any] = [text, *(types.Part.from_bytes(data=file, mime_type="image/png") for file in files)]
        client = Client(api_key=key.read(), vertexai=False, http_options=options)
        self.pace.wait()
        connection = (self.model, self.setting, self.endpoint, self.timeout)
        try:
            with service.mapped_errors(errors.APIError, (httpx2.HTTPError,), ValueError, *connection):
                reply = client.models.generate_content(
                    model=self.model, contents=contents, config=types.GenerateContentConfig(**settings)
                )
        finally:
            client.close()
        return _parts(reply)


def asker(client: GenAI, retry: Retry) -> Callable[[str, Sequence[Image.Image]], str]:
    """Return what asks a model about pictures, again where the service is busy, and returns its most likely answer."""

    def ask(text: str, pictures: Sequence[Image.Image]) -> str:
        files = [service.encode(picture) for picture in pictures]
        return retry.run(lambda: text_of(client.ask(text, files, {"temperature": 0.0})))

    return ask


def text_of(parts: Sequence[Any]) -> str:
    """Join the text of an answer, without what the model thought and without keys."""
    return key.redact("".join(part.text for part in parts if part.text and not part.thought))


def picture_of(parts: Sequence[Any]) -> bytes | None:
    """Return the first picture of an answer as a file; None where it has none."""
    return next((part.inline_data.data for part in parts if part.inline_data and part.inline_data.data), None)


def _parts(reply: Any) -> list[Any]:
    feedback = reply.prompt_feedback
    if feedback is not None and feedback.block_reason:
        raise service.blocked(getattr(feedback.block_reason, "name", str(feedback.block_reason)))
    if not reply.candidates:
        return []
    candidate = reply.candidates[0]
    finish = getattr(candidate.finish_reason, "name", str(candidate.finish_reason))
    if finish in service.BLOCKED:
        raise service.blocked(finish)
    return list((candidate.content.parts if candidate.content else None) or [])
