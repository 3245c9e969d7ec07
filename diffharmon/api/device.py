"""Where a harmonizer computes: the accelerator and the threads that a configuration's trainer names."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from omegaconf import DictConfig

from diffharmon.errors import ConfigError

_ACCELERATORS = ("cuda", "mps")


def device_of(trainer: DictConfig) -> torch.device:
    """Return the device of ``trainer.accelerator``; the best that is there for ``auto`` and where none is named.

    Raises:
        ConfigError: The machine has none of that kind.
    """
    wanted = str(trainer.get("accelerator", "auto"))
    there = [name for name in _ACCELERATORS if getattr(torch, name).is_available()]
    if wanted == "cpu" or (wanted == "auto" and not there):
        return torch.device("cpu")
    fitting = [name for name in there if wanted in ("auto", "gpu", name)]
    if not fitting:
        raise ConfigError(f"trainer.accelerator={wanted}: this machine has none, expected auto or cpu")
    return torch.device(fitting[0])


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch use so many CPU threads inside the ``with``; None leaves the choice to torch."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
