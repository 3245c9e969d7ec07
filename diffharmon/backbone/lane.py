"""A backbone as one of several images in lockstep sees it: its predictions are made together with the others'."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from jaxtyping import Float, Num
from torch import Tensor, nn

from diffharmon.attention.processor import Enough, MapStore
from diffharmon.backbone.memory import Memory
from diffharmon.backbone.shared_call import Prediction, PredictionCall, Rules, SharedRows
from diffharmon.lockstep.lanes import Lane
from diffharmon.types import AttentionRule, Text

T = TypeVar("T")


class LaneNetwork(nn.Module):
    """Stands for the network in one lane, so that the calls and samples of this lane alone are counted.

    Args:
        network: The network that all lanes share.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def __getattr__(self, name: str) -> Any:
        """Everything else is the network's own."""
        own = self.__dict__["_modules"]
        return own[name] if name in own else getattr(own["network"], name)

    def forward(self, latent: Float[Tensor, "b c y x"]) -> None:
        """Take note of a call, which `PredictionCall` makes for several lanes."""


class LaneBackbone:
    """A backbone in one lane; everything but attention rules and predictions is the backbone's own.

    Rules are not put on the network, which the lanes share: they go along with each prediction, and predictions under
    the same rules, at the same timestep and of the same size are made in one call. Encoding and decoding stay one image
    at a time, as their memory grows with the pixels.

    Args:
        backbone: What all lanes share.
        lane: Whose view it is.
    """

    def __init__(self, backbone: Any, lane: Lane) -> None:
        self.backbone, self.lane = backbone, lane
        self.network = LaneNetwork(backbone.network)
        self.rules: list[Rules] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the backbone's own."""
        return getattr(self.backbone, name)

    def clock(self) -> float:
        """Seconds of this lane alone."""
        return self.lane.clock()

    @contextmanager
    def attention(
        self, rules: Sequence[AttentionRule], sources: Sequence[int] = (), steps: int = 1
    ) -> Iterator[MapStore]:
        """Let rules go along with the predictions inside a ``with``."""
        with self.backbone.attention(rules, sources, steps) as store:
            pass  # what is wrong with the rules shows here; the store alone is kept
        self.rules.append(Rules(tuple(rules), store))
        try:
            yield store
        finally:
            self.rules.pop()

    def fork(self, works: Sequence[Callable[["LaneBackbone"], T]]) -> list[T | Exception]:
        """Do several works for one image side by side, each with a view of its own."""
        return self.lane.fork([partial(self.in_new_lane, work) for work in works])

    def in_new_lane(self, work: Callable[["LaneBackbone"], T], lane: Lane) -> T:
        """Do one of them."""
        return work(LaneBackbone(self.backbone, lane))

    def remembering(self, limit: int) -> Memory:
        """Return this view for the work on one image; the lanes share what may be kept."""
        return Memory(self, limit // self.lane.lanes)

    def predict(
        self, latent: Float[Tensor, "b c y x"], timestep: Num[Tensor, ""], text: Text
    ) -> Float[Tensor, "b c y x"]:
        """Predict the model output together with the other lanes."""
        self.network(latent)
        call = PredictionCall(self.backbone, latent, timestep, text, tuple(self.rules), self.lane)
        if not call.gradient:
            made: Prediction = self.lane.ask(call)
        else:
            values = SharedRows.apply(self.lane, call, *call.given())
            assert call.made is not None
            made = call.made.like(values)
        for rules, recorded in zip(self.rules, made.recorded, strict=True):
            rules.store.recorded.update(recorded)
        if made.output is None:
            raise Enough
        return made.output
