"""What both Gemini SDKs share: how the service's errors read, and which of them are worth another try."""

import io
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from PIL import Image

from diffharmon.errors import DescriberError
from diffharmon.language_model import key
from diffharmon.language_model.faults import RefusedError, TransientError
from diffharmon.language_model.retry import retry_after

# Not the newest: it has no announced end and still takes the sampling settings of the public code.
DEFAULT_MODEL = "gemini-2.5-flash-lite"
# FinishReason values that mean the answer was withheld, in both SDKs.
BLOCKED = frozenset(
    ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT")
)
_KEY_TROUBLE = re.compile(r"api[ _-]?key|credential|unauthenticated", re.IGNORECASE)


def status_error(status: int, message: str, headers: Mapping[str, str], model: str, setting: str) -> DescriberError:
    """Turn an HTTP error of the service into one of ours, without secrets.

    Args:
        status: HTTP status code.
        message: The service's message.
        headers: Headers of the reply.
        model: The model that was called.
        setting: The setting that names it.
    """
    said = re.sub(r"^(?:GET|POST) \S+: ", "", key.redact(" ".join(message.split())))[:300] or "no message"
    if status in (408, 429) or status >= 500:
        seconds = retry_after(headers) or _retry_delay(message)
        return TransientError(f"the service answered {status}: {said}", seconds)
    if status in (401, 403) or (status == 400 and _KEY_TROUBLE.search(said)):
        return DescriberError(f"the service does not accept the key in {' or '.join(key.NAMES)} ({status}: {said})")
    if status == 404:
        return DescriberError(f"the service does not have {setting}={model} (404: {said})")
    return DescriberError(f"the service refused the request ({status}: {said})")


def _retry_delay(message: str) -> float:
    """Read the wait that quota messages carry in words, such as ``Please retry in 17.3s``."""
    found = re.search(r"retry in (\d+(?:\.\d+)?) ?s", message)
    return float(found[1]) if found else 0.0


def _unreachable(error: Exception, endpoint: str | None, timeout: float) -> TransientError:
    """Turn a timeout or a broken connection into one of ours, without secrets."""
    where = endpoint or "the Gemini service"
    # The cause stands last in a chain of wrapped errors.
    reason = key.redact(" ".join(str(error).split())).rsplit(": ", 1)[-1].strip("\"')>")[:200]
    if "timeout" in type(error).__name__.lower():
        return TransientError(f"{where} did not answer within {timeout:g} s")
    return TransientError(f"{where} cannot be reached ({type(error).__name__}: {reason})")


def _unreadable(error: Exception) -> TransientError:
    """Turn a reply that is not the service's JSON into one of ours, without secrets."""
    reason = key.redact(" ".join(str(error).split()))[:200]
    return TransientError(f"the service's reply is malformed ({type(error).__name__}: {reason})")


@contextmanager
def mapped_errors(
    refused: type[Exception],
    unreachable: tuple[type[Exception], ...],
    unreadable: type[Exception],
    model: str,
    setting: str,
    endpoint: str | None,
    timeout: float,
) -> Iterator[None]:
    """Turn the errors of an SDK into ``DescriberError``, without secrets.

    Args:
        refused: The service's own errors, with ``code``, ``message`` and ``response``.
        unreachable: Timeouts and broken connections.
        unreadable: A reply that is not the service's JSON.
        model: The model that was called.
        setting: The setting that names it.
        endpoint: Address of the server; None means Google's.
        timeout: Seconds that were waited for a reply.
    """
    try:
        yield
    except refused as error:
        code, message = getattr(error, "code", None), getattr(error, "message", None)
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        raise status_error(int(code or 0), str(message or ""), headers, model, setting) from None
    except unreachable as error:
        raise _unreachable(error, endpoint, timeout) from None
    except unreadable as error:
        raise _unreadable(error) from None


def missing(package: str, extra: str) -> DescriberError:
    """Name the extra that installs an SDK."""
    return DescriberError(f"{package} is not installed; install it with: pip install 'diffharmon[{extra}]'")


def blocked(reason: str) -> RefusedError:
    """Make the error of a withheld answer."""
    return RefusedError(f"the service blocked this image or its answer ({reason})")


def encode(picture: Image.Image) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def quiet_transport() -> None:
    """Silence the SDKs' logging of every request, unless their level was set on purpose."""
    for name in ("httpx2", "httpx", "httpcore2", "httpcore", "urllib3", "google_genai", "google"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
