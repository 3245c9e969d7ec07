"""The loggers of a run: built together, closed together; one that fails does not end the run."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from diffharmon.errors import ResultError
from diffharmon.protocols import Logger
from diffharmon.report.sweep import one_line

log = logging.getLogger(__name__)


class GuardedLogger:
    """Passes everything on to a logger until it fails; the failure is logged in one line, and the run goes on.

    A logger is a copy of what the run's folder holds: an outage of a server must not cost the images still to do.

    Args:
        name: The logger's name in the configuration.
        logger: The logger.

    Attributes:
        failure: What went wrong, in one line; empty while nothing did.
    """

    def __init__(self, name: str, logger: Logger) -> None:
        self.name, self.logger, self.failure = name, logger, ""

    def image(self, name: str, panel: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Log one finished image."""
        if not self.failure:
            self.guard(self.logger.image, name, panel, row)

    def summary(self, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> None:
        """Log the table of all rows and the means over them."""
        if not self.failure:
            self.guard(self.logger.summary, rows, means)

    def close(self, error: str = "") -> None:
        """Finish the record, also of a logger that failed."""
        self.guard(self.logger.close, error or self.failure)

    def guard(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call the logger and note the first error."""
        try:
            call(*arguments)
        except Exception as error:
            log.debug("logger %s", self.name, exc_info=True)
            if not self.failure:
                self.failure = one_line(error)
                log.error("logger %s failed, the run goes on without it: %s", self.name, self.failure)


@contextmanager
def open_loggers(
    nodes: Mapping[str, Any], folder: Path, config: Mapping[str, Any]
) -> Iterator[Sequence[GuardedLogger]]:
    """Build every chosen logger and close all of them at the end, also when one of them or the run fails.

    Args:
        nodes: The loggers' settings by name.
        folder: The run's folder.
        config: The run's resolved configuration, with its group choices and commit.

    Raises:
        ResultError: All images were written, but a logger failed.
    """
    from diffharmon.config import build

    with ExitStack() as stack:
        loggers = []
        for name, node in nodes.items():
            logger = GuardedLogger(str(name), build(node, folder=folder, config=config))
            stack.push(lambda _, error, __, logger=logger: logger.close(one_line(error) if error else ""))
            loggers.append(logger)
        yield loggers
    failed = [f"logger {logger.name}: {logger.failure}" for logger in loggers if logger.failure]
    if failed:
        raise ResultError(f"the images are complete in {folder}, but not logged by {'; '.join(failed)}")
