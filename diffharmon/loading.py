"""One clear message when a model cannot be loaded."""

from pathlib import Path

from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError

from diffharmon.errors import ModelError

ASSETS = Path(__file__).resolve().parent / "assets"
# What loading raises for missing, unreachable, damaged or unfitting files.
FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, HFValidationError)


def failure(what: str, given: str, error: Exception, help: str) -> ModelError:
    """Say what was tried, why it failed and how to get it.

    Args:
        what: What the model is for.
        given: Folder or hub id that was asked for.
        error: Why it could not be loaded.
        help: How to get it, and what works without it.
    """
    kind = "local folder" if Path(given).is_dir() else "local folder (there is none) and as a hub id"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = " ".join(lines)[:300] or type(error).__name__
    return ModelError(f"cannot load the {what} {given!r}, tried as a {kind}: {reason}\n{help}")
