"""What a configuration must not carry to a server: keys from the environment, and where things lie on this machine."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
REDACTED = "<redacted>"
_PART = r"[^\s/\\:,;'\"()\[\]]+"
# An absolute path of two parts or more inside a text; no part of a URL or of a relative path.
_PATH = re.compile(rf"(?<![\w.:/~-])(?:~|[A-Za-z]:)?(?:[/\\]{_PART})+[/\\]({_PART})")


def redact(value: Any) -> Any:
    """Cut the values of environment variables that look like keys out of a configuration."""
    secrets = [text for name, text in os.environ.items() if name.upper().endswith(SECRETS) and len(text) >= 8]

    def without(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, REDACTED)
        return text

    return _changed(value, without)


def without_machine_paths(value: Any) -> Any:
    """Shorten each absolute path of a configuration to its last part, so ``/data/iHarmony4`` becomes ``iHarmony4``."""
    return _changed(value, _last_part)


def shorten_paths(text: str) -> str:
    """Shorten the absolute paths inside a text, such as an error, to their last parts."""
    return _PATH.sub(r"\1", text)


def _last_part(text: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(text)
        if path.is_absolute() or text.startswith("~"):
            return path.name or text
    return text


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _changed(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_changed(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value
