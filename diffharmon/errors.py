"""Errors that a user can mend: each message names what was given and what was expected."""


class DiffharmonError(Exception):
    """Base of the errors that end a command with one clear line and exit code 2."""


class InputError(DiffharmonError, ValueError):
    """An image, mask, description or file that cannot be used as it is."""


class ConfigError(DiffharmonError, ValueError):
    """A configuration key or value that does not fit; the message names the full key."""


class ModelError(DiffharmonError, RuntimeError):
    """A model that cannot be found, loaded or run on this machine."""


class DescriberError(DiffharmonError, RuntimeError):
    """A describer that gave no usable description of an image."""


class ResultError(DiffharmonError, RuntimeError):
    """A result that breaks a promise, such as an unchanged background."""
