"""Gemini through google-genai, the maintained SDK."""

from collections.abc import Sequence
from typing import Any, ClassVar

from diffharmon.describer import key, service
from diffharmon.describer.gemini_service import GeminiService


class GoogleGenAI(GeminiService):
    """Asks Gemini through ``google-genai`` (extra ``google-genai``); settings as `GeminiService` documents them."""

    label: ClassVar[str] = "google_genai"

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
            with self._mapped_errors(errors.APIError, (httpx2.HTTPError,), ValueError):
                reply = client.models.generate_content(
                    model=self.model, contents=parts, config=types.GenerateContentConfig(**self.sampling)
                )
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
