"""The service's key: read from the environment when it is needed, kept nowhere, taken out of every message."""

import os
from urllib.parse import quote, quote_plus

from diffharmon.errors import DescriberError

NAMES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")


def read() -> str:
    """Return the key from ``GOOGLE_API_KEY`` or else ``GEMINI_API_KEY``.

    Raises:
        DescriberError: when neither is set, or the value cannot be sent in a request header.
    """
    for name in NAMES:
        value = os.environ.get(name, "").strip()
        if value and not (value.isascii() and value.isprintable() and " " not in value):
            raise DescriberError(f"the key in {name} has characters that no key has; copy it again")
        if value:
            return value
    raise DescriberError(
        f"no key for the Gemini service: set {' or '.join(NAMES)} in the environment, or choose what needs no key "
        "(a describer such as reader, which may also be describer.fallback)"
    )


def redact(text: str) -> str:
    """Replace the keys of the environment wherever they occur in ``text``, plain or quoted for a URL."""
    for name in NAMES:
        raw = os.environ.get(name, "")
        forms = {form for value in (raw, raw.strip()) for form in (value, quote(value, safe=""), quote_plus(value))}
        for form in sorted(forms - {""}, key=len, reverse=True):
            text = text.replace(form, "[key]")
    return text
