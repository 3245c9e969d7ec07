"""Several pieces of work in lockstep: each runs on its own, and all wait where a call can be made for several at once.

Every piece has a thread, but only one of them runs at a time: it goes on until it asks for a call or ends. When all
wait, the call of the one that is furthest behind is made, together with all others that fit. So the work itself is
written for one image and knows nothing of the others; which of them run beside it decides only which calls are shared.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch

from diffharmon.types import Event, Observer, Watcher

log = logging.getLogger(__name__)

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
        lanes: How many there are.
        device: Work still queued there is waited for before a lane stops its clock.
        turn: Receives what the lane goes on with.
        news: Receives the lane each time it stops.
        asked: The call that it waits for; None while it runs and when it has ended.
        result: What came out in the end.
        ended: Whether it has ended.
        progress: Stages entered and the step reached in the last one: the lane with the lowest is furthest behind.
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
        """Note that another stage is entered."""
        self.lane.progress = (self.lane.progress[0] + 1, 0)
        with self.observe.stage(name) if isinstance(self.observe, Watcher) else nullcontext():
            yield


def current_lane() -> Lane | None:
    """Return the lane that this code runs in; None outside of lanes."""
    return getattr(_here, "lane", None)


def lane_clock() -> Callable[[], float]:
    """Return a clock of the seconds that belong to this lane; outside of lanes, of all seconds."""
    lane = current_lane()
    return time.perf_counter if lane is None else lane.clock


def run_together(works: Sequence[Callable[[Lane], T]], device: torch.device) -> list[T | Exception]:
    """Run pieces of work in lockstep; returns what each gives, or the exception that ended it and it alone.

    Args:
        works: Each is called with its lane, in a thread of its own; no two of them run at the same time.
        device: Where their calls are made.
    """
    news: SimpleQueue[Lane] = SimpleQueue()
    lanes = [Lane(number, len(works), device, news) for number in range(len(works))]
    inherit = inherited(device)
    threads = [
        threading.Thread(target=run_lane, args=(lane, work, inherit), name=f"lane {lane.number}", daemon=True)
        for lane, work in zip(lanes, works, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        for lane in lanes:
            lane.resume(None)
        while waiting := [lane for lane in lanes if not lane.ended]:
            serve(waiting)
    finally:
        for lane, thread in zip(lanes, threads, strict=True):  # all have ended, unless something ended this thread
            while thread.is_alive():
                lane.turn.put(Cancelled())
                thread.join(0.1)
    return [lane.result for lane in lanes]


def serve(waiting: Sequence[Lane]) -> None:
    """Make the call of the lane that is furthest behind together with those that fit, and let these lanes go on."""
    first = min(waiting, key=lambda lane: lane.progress).asked
    assert first is not None
    lanes = [lane for lane in waiting if lane.asked is not None and lane.asked.key == first.key]
    calls = [lane.asked for lane in lanes if lane.asked is not None]
    begun = time.perf_counter()
    replies = make(calls)
    if lanes[0].device.type == "cuda":
        torch.cuda.synchronize(lanes[0].device)
    seconds, rows = time.perf_counter() - begun, sum(call.rows for call in calls)
    for lane, call, reply in zip(lanes, calls, replies, strict=True):
        lane.resume(reply, seconds * call.rows / max(rows, 1))


def make(calls: Sequence[Call]) -> Sequence[Any]:
    """Make calls together; where that fails, such as for memory, each alone, so that one spoils no other."""
    try:
        return calls[0].together(calls)
    except Exception as error:
        if len(calls) == 1:
            return [error]
        log.debug("%d calls cannot be made together: %s", len(calls), error)
    return [reply for call in calls for reply in make([call])]  # out here, where the error no longer holds memory


def run_lane(lane: Lane, work: Callable[[Lane], Any], inherit: Callable[[ExitStack], None]) -> None:
    """Run one piece of work to its end; part of its thread."""
    try:
        if isinstance(reply := lane.turn.get(), BaseException):
            raise reply
        _here.lane = lane
        with ExitStack() as stack:
            inherit(stack)
            lane.result = work(lane)
    except Cancelled as error:
        lane.result = RuntimeError(str(error))
    except Exception as error:
        lane.result = error
    finally:
        lane.pause(None)


def inherited(device: torch.device) -> Callable[[ExitStack], None]:
    """Return what gives another thread this thread's settings of torch, which hold for a thread only."""
    gradients = torch.is_grad_enabled()
    autocast = torch.is_autocast_enabled(device.type)
    dtype = torch.get_autocast_dtype(device.type)
    index = torch.cuda.current_device() if device.type == "cuda" and device.index is None else device.index

    def enter(stack: ExitStack) -> None:
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(index))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(torch.autocast(device.type, dtype, enabled=autocast))
        # A backward pass of a lane waits for the others' inside it: it must not hold a device's only thread.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))

    return enter
