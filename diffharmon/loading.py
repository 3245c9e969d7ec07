"""One clear message when a model cannot be loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError

from diffharmon.errors import ModelError

# What loading raises for missing, unreachable, damaged or unfitting files.
_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError, HFValidationError)


@contextmanager
def loading(what: str, given: str, help: str) -> Iterator[None]:
    """Turn what libraries raise while a model loads into one message: what was tried, why it failed, how to get it.

    Args:
        what: What the model is for.
        given: Folder or hub id that was asked for.
        help: How to get it, and what works without it.

    Raises:
        ModelError: Anything inside the ``with`` failed.
    """
    try:
        yield
    except _FAULTS as error:
        if isinstance(error, ModelError):
            raise
        kind = "local folder" if Path(given).is_dir() else "local folder (there is none) and as a hub id"
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines)[:300] or type(error).__name__
        raise ModelError(f"cannot load the {what} {given!r}, tried as a {kind}: {reason}\n{help}") from error
