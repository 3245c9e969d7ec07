"""Gemini through google-generativeai, the published method's SDK; its support has ended, so it is met only here."""

import threading
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from PIL import Image

from diffharmon.describer import key, service
from diffharmon.describer.retry import Pace, Retry
from diffharmon.describer.speaker import Speaker
from diffharmon.protocols import Describer
from diffharmon.types import Attempt, Composite, Description

# The SDK keeps key and endpoint in one global place; a client must be made before another thread changes them.
_CONFIGURING = threading.Lock()


class Gemini:
    """Asks Gemini through ``google-generativeai`` (extra ``gemini``) as the paper does (section 3.1).

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
        self.sampling = {name: value for name, value in sampling.items() if value is not None}
        self.timeout = timeout
        self.endpoint = endpoint
        self.retry = Retry(attempts, first_delay, longest_delay)
        self.pace = Pace(requests_per_minute)
        self.speaker = Speaker(f"gemini ({model})", model, self._send, prompt, width, answers, cache, fallback)

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite differently from everything in ``previous``.

        Raises:
            DescriberError: when the model gave no usable description and there is no fallback.
        """
        return self.speaker.describe(composite, previous)

    def _send(self, text: str, pictures: Sequence[Image.Image]) -> str:
        parts = [text, *({"mime_type": "image/png", "data": service.encode(picture)} for picture in pictures)]
        return self.retry.run(lambda: self._request(parts))

    def _request(self, parts: list[Any]) -> str:
        sdk = _sdk()
        import requests
        from google.api_core import exceptions
        from google.protobuf.json_format import ParseError

        service.quiet_transport()
        model = self._model(sdk)
        self.pace.wait()
        try:
            reply = model.generate_content(parts, request_options={"timeout": self.timeout, "retry": None})
        except exceptions.GoogleAPICallError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise service.status_error(int(error.code or 0), error.message, headers, self.model) from None
        except (exceptions.RetryError, requests.exceptions.RequestException) as error:
            raise service.unreachable(error, self.endpoint, self.timeout) from None
        except ParseError as error:
            raise service.unreadable(error) from None
        return key.redact(_text(reply))

    def _model(self, sdk: ModuleType) -> Any:
        from google.generativeai.client import get_default_generative_client

        options = {} if self.endpoint is None else {"api_endpoint": self.endpoint}
        with _CONFIGURING:
            sdk.configure(api_key=key.read(), transport="rest", client_options=options)
            model = sdk.GenerativeModel(self.model, generation_config=self.sampling)
            # What generate_content would do later, outside the lock.
            model._client = get_default_generative_client()
        return model


def _sdk() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            import google.generativeai as sdk
    except ImportError:
        raise service.missing("google-generativeai", "gemini") from None
    return sdk


def _text(reply: Any) -> str:
    reason = reply.prompt_feedback.block_reason
    if reason:
        raise service.blocked(reason.name)
    if not reply.candidates:
        return ""
    candidate = reply.candidates[0]
    text = "".join(part.text for part in candidate.content.parts)
    finish = getattr(candidate.finish_reason, "name", str(candidate.finish_reason))
    if finish in service.BLOCKED:
        raise service.blocked(finish)
    return text
