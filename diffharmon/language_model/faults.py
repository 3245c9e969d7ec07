"""What can go wrong when a language model is asked; every one of them is a `DescriberError`."""

from diffharmon.errors import DescriberError


class TransientError(DescriberError):
    """The service is busy, broken or out of reach right now; asking again later may help.

    Args:
        message: What happened, without secrets.
        retry_after: Seconds the service asked to wait; 0 where it gave none.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RefusedError(DescriberError):
    """The model declined this image (safety block or the like); asking again gives the same."""


class AnswerError(DescriberError):
    """The model answered, but not with a description that can be used; asking again may help."""
