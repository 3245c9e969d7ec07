"""Shards of one run: several machines take their share of the images and write into one folder, one writer a shard."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from diffharmon.errors import ConfigError


@dataclass(frozen=True)
class Shard:
    """A share of a run's images.

    Attributes:
        number: From 0.
        count: How many shards there are; 1 is the whole run.
    """

    number: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """Its name in file names; empty for the whole run."""
        return f"shard{self.number}of{self.count}" if self.count > 1 else ""

    def share(self, total: int) -> Sequence[int]:
        """Return the indices of its images; those of all shards are ``range(total)``."""
        return range(self.number, total, self.count)

    @classmethod
    def parse(cls, text: str | None) -> "Shard":
        """Read ``NUMBER/COUNT``; None is the whole run.

        Raises:
            ConfigError: It is something else, or the number is not below the count.
        """
        if text is None:
            return cls()
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or not int(match[1]) < int(match[2]):
            raise ConfigError(f"shard: expected NUMBER/COUNT with 0 <= NUMBER < COUNT such as 3/8, got {text!r}")
        return cls(int(match[1]), int(match[2]))
