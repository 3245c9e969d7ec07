"""Several pieces of work in lockstep: each runs on its own, and all wait where a call can be made for several at once.

Every piece has a thread, but only one of them runs at a time: it goes on until it asks for a call or ends. When all
wait, the call of the one that is furthest behind is made, together with all others that fit. So the work itself is
written for one image and knows nothing of the others; which of them run beside it decides only which calls are shared.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from diffharmon.types import Event, Observer, Watcher

T = TypeVar("T")
_here = threading.local()


@runtime_checkable
class Call(Protocol):
    """What a lane asks for."""

    @property
    def key(self) -> Hashable:
        """Calls with equal keys can be made together."""
        ...

    @property
    def rows(self) -> int:
        """The call's share of the seconds, beside that of the others."""
        ...

    def together(self, calls: Sequence[Any]) -> Sequence[Any]:
        """Make calls of equal keys, this one among them; returns what each gets."""
        ...


class Cancelled(BaseException):
    """Ends a lane whose result nobody waits for."""


@dataclass
class Lane:
    """The running record of one piece of work.

    Attributes:
        number: Counts the lanes from 0.
        lanes: How many there are, at most: what is shared is divided by it.
        device: Work still queued there is waited for before a lane stops its clock.
        turn: Receives what the lane goes on with.
        news: Receives the lane each time it stops.
        asked: The call that it waits for; None while it runs and when it has ended.
        result: What came out in the end.
        ended: Whether it has ended.
        progress: Stages entered and the step reached in the last one: the lane with the lowest is furthest behind.
        stage: The stage under way, or the one that failed.
        seconds: Seconds of its own up to ``resumed``, its shares of the calls included.
        resumed: When it last went on.
    """

    number: int
    lanes: int
    device: torch.device
    news: "SimpleQueue[Lane]"
    turn: "SimpleQueue[Any]" = field(default_factory=SimpleQueue)
    asked: Call | None = None
    result: Any = None
    ended: bool = False
    progress: tuple[int, int] = (0, 0)
    stage: str = ""
    seconds: float = 0.0
    resumed: float = 0.0

    def clock(self) -> float:
        """Seconds of this lane alone: those in which it ran, and its share by rows of the calls made with others."""
        return self.seconds + time.perf_counter() - self.resumed

    def ask(self, call: Call) -> Any:
        """Wait until a call is made, and return what it gives to this lane; raises what went wrong with it."""
        self.pause(call)
        reply = self.turn.get()
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def pause(self, call: Call | None) -> None:
        """Stop the clock and let others run; None ends the lane."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds, self.asked, self.ended = self.clock(), call, call is None
        self.news.put(self)

    def resume(self, reply: Any, seconds: float = 0.0) -> None:
        """Let it run until it asks or ends, after a call that took this many seconds of its own."""
        self.seconds, self.resumed, self.asked = self.seconds + seconds, time.perf_counter(), None
        self.turn.put(reply)
        self.news.get()

    def fork(self, works: Sequence[Callable[["Lane"], T]]) -> list[T | Exception]:
        """Run pieces of work in lanes beside all others, as `run_together` does, and wait for them."""
        return self.ask(Fork(works))

    def follow(self, observe: Observer) -> Watcher:
        """Return a watcher that notes the lane's progress and passes everything on."""
        return Follower(self, observe)


class Follower(Watcher):
    """Notes a lane's progress, so that the one that is furthest behind goes first.

    Args:
        lane: Whose.
        observe: Receives the events; a watcher also surrounds the stages.
    """

    def __init__(self, lane: Lane, observe: Observer) -> None:
        self.lane, self.observe = lane, observe

    def __call__(self, event: Event) -> None:
        """Note the step and pass the event on."""
        self.lane.progress = (self.lane.progress[0], event.step + 1)
        self.observe(event)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note that another stage is entered, and for good where it fails."""
        self.lane.progress = (self.lane.progress[0] + 1, 0)
        outer, self.lane.stage = self.lane.stage, name
        with self.observe.stage(name) if isinstance(self.observe, Watcher) else nullcontext():
            yield
        self.lane.stage = outer


def enter_lane(lane: Lane) -> None:
    """Note that this thread is a lane's."""
    _here.lane = lane


def current_lane() -> Lane | None:
    """Return the lane that this code runs in; None outside of lanes."""
    return getattr(_here, "lane", None)


def lane_clock() -> Callable[[], float]:
    """Return a clock of the seconds that belong to this lane; outside of lanes, of all seconds."""
    lane = current_lane()
    return time.perf_counter if lane is None else lane.clock


@dataclass
class Fork:
    """What a lane asks for that wants lanes of its own.

    Attributes:
        works: What they do.
        lanes: The lanes, once they have begun.
    """

    works: Sequence[Callable[[Lane], Any]]
    lanes: "Sequence[Lane] | None" = None

    @property
    def key(self) -> Hashable:
        """Nothing fits with it."""
        return "fork", id(self)

    @property
    def rows(self) -> int:
        """It takes no time of its own."""
        return 0

    def together(self, calls: Sequence[Any]) -> Sequence[Any]:
        """Return what came out."""
        return [[lane.result for lane in call.lanes] for call in calls]

    @property
    def done(self) -> bool:
        """Whether all lanes have ended."""
        return self.lanes is not None and all(lane.ended for lane in self.lanes)
