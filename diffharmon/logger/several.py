"""Several loggers as one."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jaxtyping import Float
from omegaconf import OmegaConf
from torch import Tensor

from diffharmon.config import build
from diffharmon.protocols import Logger


class Several:
    """Tells every logger everything, in order; closing closes all of them, also when one of them fails.

    Args:
        loggers: The settings of each logger by a name of choice; null leaves one out.
        folder: The run's folder, handed on to each.
        config: The run's resolved configuration, handed on to each.
    """

    def __init__(
        self,
        loggers: Mapping[str, Mapping[str, Any] | None],
        folder: Path | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.loggers: list[Logger] = []
        with ExitStack() as begun:
            for settings in loggers.values():
                if settings is not None:
                    start = build(OmegaConf.create(dict(settings)), _partial_=True)
                    logger: Logger = start(folder=folder, config=config)
                    begun.callback(logger.close, True)
                    self.loggers.append(logger)
            begun.pop_all()  # All have started, so none is to be closed yet.

    def image(self, name: str, panel: Mapping[str, Float[Tensor, "3 _ _"]], row: Mapping[str, Any]) -> None:
        """Log one image everywhere."""
        for logger in self.loggers:
            logger.image(name, panel, row)

    def summary(self, rows: Sequence[Mapping[str, Any]], means: Mapping[str, float]) -> None:
        """Log the table and the means everywhere."""
        for logger in self.loggers:
            logger.summary(rows, means)

    def close(self, failed: bool = False) -> None:
        """Finish every record; an error of one is raised after the others are closed."""
        with ExitStack() as stack:
            for logger in reversed(self.loggers):
                stack.callback(logger.close, failed)
