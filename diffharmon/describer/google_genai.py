"""Gemini through google-genai, the maintained SDK."""

from collections.abc import Sequence
from typing import Any

from PIL import Image

from diffharmon.describer import key, service
from diffharmon.describer.retry import Pace, Retry
from diffharmon.describer.speaker import Speaker
from diffharmon.protocols import Describer
from diffharmon.types import Attempt, Composite, Description


class GoogleGenAI:
    """Asks Gemini through ``google-genai`` (extra ``google-genai``), otherwise as `Gemini` does.

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
        endpoint: Another server that speaks the same protocol; None is Google's.
        cache: Folder of stored descriptions; None stores none.
        fallback: Who describes an image when this model cannot; None makes that an error.
    """

    def __init__(
        self,
        model: str = service.DEFAULT_MODEL,
        temperature: float | None = 0.3,
        top_p: float | None = 1.0,
        top_k: int | None = 64,
        prompt: str | None = None,
        width: int = 1024,
        answers: int = 3,
        attempts: int = 5,
        first_delay: float = 1.0,
        longest_delay: float = 60.0,
        requests_per_minute: float = 0.0,
        timeout: float = 60.0,
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
        self.speaker = Speaker(f"google_genai ({model})", model, self._send, prompt, width, answers, cache, fallback)

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite differently from everything in ``previous``.

        Raises:
            DescriberError: when the model gave no usable description and there is no fallback.
        """
        return self.speaker.describe(composite, previous)

    def _send(self, text: str, pictures: Sequence[Image.Image]) -> str:
        files = [service.encode(picture) for picture in pictures]
        return self.retry.run(lambda: self._request(text, files))

    def _request(self, text: str, files: Sequence[bytes]) -> str:
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
        parts: list[Any] = [text, *(types.Part.from_bytes(data=file, mime_type="image/png") for file in files)]
        client = Client(api_key=key.read(), vertexai=False, http_options=options)
        self.pace.wait()
        try:
            reply = client.models.generate_content(
                model=self.model, contents=parts, config=types.GenerateContentConfig(**self.sampling)
            )
        except errors.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise service.status_error(error.code, str(error.message or ""), headers, self.model) from None
        except httpx2.HTTPError as error:
            raise service.unreachable(error, self.endpoint, self.timeout) from None
        except ValueError as error:
            raise service.unreadable(error) from None
        finally:
            client.close()
        return key.redact(_text(reply))


def _text(reply: Any) -> str:
    feedback = reply.prompt_feedback
    if feedback is not None and feedback.block_reason:
        raise service.blocked(getattr(feedback.block_reason, "name", str(feedback.block_reason)))
    if not reply.candidates:
        return ""
    candidate = reply.candidates[0]
    finish = getattr(candidate.finish_reason, "name", str(candidate.finish_reason))
    if finish in service.BLOCKED:
        raise service.blocked(finish)
    parts = (candidate.content.parts if candidate.content else None) or []
    return "".join(part.text for part in parts if part.text and not part.thought)
