"""What each stage costs: seconds, calls of the network and samples in them."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from diffharmon.protocols import Backbone
from diffharmon.types import Cost, Event, Observer, Watcher, ignore


class Meter(Watcher):
    """Adds up costs by stage name and passes events on; one meter measures one image.

    Args:
        network: The network whose calls are counted.
        device: Where it runs; work still queued there is waited for, so that seconds belong to their stage.
        observe: Receives the events.
        clock: Seconds so far; those of an image in lockstep with others are its own.
    """

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        observe: Observer = ignore,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.network = network
        self.clock = clock
        self.device = device
        self.observe = observe
        self.costs: dict[str, Cost] = {}

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        self.observe(event)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what runs inside the ``with``; the same name again adds up."""
        calls: list[int] = []

        def count(module: nn.Module, args: tuple, kwargs: Mapping) -> None:
            calls.append(len(next(iter((*args, *kwargs.values())))))  # latents come first, by place or by name

        handle = self.network.register_forward_pre_hook(count, with_kwargs=True)
        start = self.now()
        outer = self.observe.stage(name) if isinstance(self.observe, Watcher) else nullcontext()
        try:
            with outer:
                yield
        finally:
            handle.remove()
            cost = Cost(self.now() - start, len(calls), sum(calls))
            self.costs[name] = self.costs.get(name, Cost()) + cost

    def now(self) -> float:
        """Read the clock once the device has done its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock()

    @classmethod
    def of(cls, backbone: Backbone, observe: Observer) -> "Meter":
        """Return a meter of a backbone; one that shares its calls has a clock of its own."""
        return cls(backbone.network, backbone.device, observe, getattr(backbone, "clock", time.perf_counter))
