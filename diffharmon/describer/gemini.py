"""Gemini through google-generativeai, the published method's SDK; its support has ended, so it is used only here."""

import threading
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

from diffharmon.describer.gemini_service import GeminiService
from diffharmon.language_model import key, service
from diffharmon.language_model.service import mapped_errors

# The SDK keeps key and endpoint in one global place; a client must be made before another thread changes them.
_CONFIGURING = threading.Lock()


class Gemini(GeminiService):
    """Asks Gemini through ``google-generativeai`` (extra ``gemini``); settings as `GeminiService` documents them."""

    label: ClassVar[str] = "gemini"

    def _request(self, text: str, files: Sequence[bytes]) -> str:
        sdk = _sdk()
        import requests
        from google.api_core import exceptions
        from google.protobuf.json_format import ParseError

        service.quiet_transport()
        model = self._model(sdk)
        parts = [text, *({"mime_type": "image/png", "data": file} for file in files)]
        self.pace.wait()
        unreachable = (exceptions.RetryError, requests.exceptions.RequestException)
        with mapped_errors(exceptions.GoogleAPICallError, unreachable, ParseError, *self._connection()):
            reply = model.generate_content(parts, request_options={"timeout": self.timeout, "retry": None})
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
