"""What one visitor of the page may ask for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of the page; each is an option of ``diffharmon-app``.

    Attributes:
        megapixels: Pixels of a photo, in millions.
        megabytes: Size of an uploaded file.
        seconds: Time for one photo, from its turn on.
        waiting: Visitors in the queue of the one model.
        results: Results kept for each visitor; the oldest go first.
        hours: How long a visitor's files are kept after the last use.
    """

    megapixels: float = 60.0
    megabytes: int = 200
    seconds: float = 900.0
    waiting: int = 16
    results: int = 12
    hours: float = 12.0
