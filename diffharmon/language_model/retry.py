"""Retrying a remote service: bounded exponential backoff, and an even pace of requests."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from diffharmon.errors import ConfigError
from diffharmon.language_model.faults import TransientError

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with jitter: waits double from ``first_delay`` and vary by half, up to ``longest_delay``.

    Attributes:
        attempts: Requests in all, the first included.
        first_delay: Seconds before the second request.
        longest_delay: Upper bound on one wait in seconds; a service that asks for more is given up at once.
    """

    attempts: int = 5
    first_delay: float = 1.0
    longest_delay: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_delay < 0 or self.longest_delay < 0:
            raise ConfigError(
                "expected attempts of at least 1 and delays of at least 0 seconds, got "
                f"attempts={self.attempts}, first_delay={self.first_delay}, longest_delay={self.longest_delay}"
            )

    def run(self, request: Callable[[], Result]) -> Result:
        """Call ``request`` until it does not raise `TransientError`.

        Raises:
            TransientError: the last one, when attempts are used up or the service asks for too long a wait.
        """
        for number in range(1, self.attempts + 1):
            try:
                return request()
            except TransientError as error:
                if number == self.attempts:
                    raise TransientError(f"{error} (asked {number} times)") from None
                if error.retry_after > self.longest_delay:
                    raise TransientError(
                        f"{error} (it asks to wait {error.retry_after:.0f} s, more than the longest wait of "
                        f"{self.longest_delay:.0f} s)"
                    ) from None
                seconds = self._delay(number, error.retry_after)
                _log.info("%s; asking again in %.1f s (%d of %d)", error, seconds, number + 1, self.attempts)
                time.sleep(seconds)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _delay(self, number: int, retry_after: float) -> float:
        delay = self.first_delay * 2 ** (number - 1) * random.uniform(0.5, 1.5)
        return max(min(delay, self.longest_delay), retry_after)


def retry_after(headers: Mapping[str, str]) -> float:
    """Read the seconds to wait from a Retry-After header, given as seconds or as a date (RFC 9110, 10.2.3)."""
    value = next((text for name, text in headers.items() if name.lower() == "retry-after"), "").strip()
    if not value:
        return 0.0
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max((moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


class Pace:
    """Spaces requests of all threads evenly, so that no minute sees more than ``per_minute`` of them.

    Args:
        per_minute: Requests a minute; 0 for no limit.
    """

    def __init__(self, per_minute: float) -> None:
        if per_minute < 0:
            raise ConfigError(f"describer.requests_per_minute is {per_minute}, expected 0 or more")
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Sleep until the next request may be sent."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        time.sleep(start - now)
