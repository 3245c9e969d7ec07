"""Calls of small networks, such as readers and judges, made together with those of other images in lockstep."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffharmon.lockstep.lanes import current_lane


@dataclass(frozen=True)
class NetworkCall:
    """A call that one lane asks for; its tensors and what comes out have as many rows as each other.

    Attributes:
        owner: The network, which all lanes share.
        function: The network, or a method of it.
        given: What goes in.
        gradients: Whether gradients are enabled.
    """

    owner: nn.Module
    function: Callable[..., Any]
    given: tuple[Tensor, ...]
    gradients: bool

    @property
    def rows(self) -> int:
        """Count the rows."""
        return len(self.given[0])

    @property
    def key(self) -> Hashable:
        """Calls of one function for rows of the same shapes fit together."""
        name = getattr(self.function, "__name__", "forward")
        return "network", id(self.owner), name, tuple(v.shape[1:] for v in self.given), self.gradients

    def together(self, calls: Sequence["NetworkCall"]) -> list[Any]:
        """Call once for the rows of all; returns each call's rows, as a tuple where several tensors come out."""
        rows = [call.rows for call in calls]
        with torch.set_grad_enabled(self.gradients):
            made = self.function(*map(torch.cat, zip(*(call.given for call in calls), strict=True)))
        if isinstance(made, Tensor):
            return list(made.split(rows))
        return list(zip(*(values.split(rows) for values in made), strict=True))


def call_network(owner: nn.Module, *given: Tensor, function: Callable[..., Any] | None = None) -> Any:
    """Call a network whose rows do not see each other; in a lane, together with the other lanes.

    Args:
        owner: The network.
        given: What goes in, as many rows each.
        function: A method of the network; None calls the network itself.

    Returns:
        A tensor or a tuple of tensors, with as many rows.
    """
    lane, called = current_lane(), owner if function is None else function
    optimized = torch.is_grad_enabled() and any(values.requires_grad for values in given)
    if lane is None or optimized:
        return called(*given)
    return lane.ask(NetworkCall(owner, called, given, torch.is_grad_enabled()))
