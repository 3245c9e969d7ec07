"""Errors that a user can fix: each message names what was given and what was expected."""


class DiffharmonError(Exception):
    """Base of the errors that end a command with one clear line and exit code 2."""


class InputError(DiffharmonError, ValueError):
    """An image, mask, description or file that cannot be used as it is."""


class DoubtfulMask(InputError):
    """A mask that may be read in several ways.

    Args:
        found: What is in doubt.
        settings: The settings of a dataset that decide, as a request.
    """

    def __init__(self, found: str, settings: str) -> None:
        super().__init__(found, settings)  # both, so that it passes between processes
        self.found, self.settings = found, settings

    def __str__(self) -> str:
        return f"{self.found}; {self.settings}"


class ConfigError(DiffharmonError, ValueError):
    """A configuration key or value that does not fit; the message names the full key."""


class ModelError(DiffharmonError, RuntimeError):
    """A model that cannot be found, loaded or run on this machine."""


class DescriberError(DiffharmonError, RuntimeError):
    """A describer that gave no usable description of an image."""


class ResultError(DiffharmonError, RuntimeError):
    """A result that breaks a promise, such as an unchanged background."""


def describe_error(error: BaseException) -> str:
    """Return an error's message; the operating system's errors with their file in plain words."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, DiffharmonError):
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    # Hydra leaves the message of some errors to their cause.
    return str(error) or str(error.__cause__ or type(error).__name__)
