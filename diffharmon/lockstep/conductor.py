"""What runs lanes: each in a thread, one at a time, with the calls that fit made together."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from diffharmon.lockstep.lanes import Call, Cancelled, Fork, Lane, enter_lane

T = TypeVar("T")
log = logging.getLogger(__name__)


class Conductor:
    """Begins lanes, makes the calls that they ask for and lets them go on, one at a time.

    Args:
        device: Where the calls are made.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.news: SimpleQueue[Lane] = SimpleQueue()
        self.lanes: list[Lane] = []
        self.threads: list[threading.Thread] = []
        self.inherit = inherited(device)

    def begin(self, works: Sequence[Callable[[Lane], Any]], parent: Lane | None = None) -> list[Lane]:
        """Run each piece of work in a new lane until it asks for a call."""
        beside, progress = (parent.lanes, parent.progress) if parent else (1, (0, 0))
        begun = []
        for work in works:
            lane = Lane(len(self.lanes), beside * len(works), self.device, self.news, progress=progress)
            thread = threading.Thread(target=run_lane, args=(lane, work, self.inherit), daemon=True)
            thread.start()
            begun.append(lane)
            self.lanes.append(lane)
            self.threads.append(thread)
        for lane in begun:
            lane.resume(None)
        return begun

    def run(self) -> None:
        """Make calls until all lanes have ended."""
        while waiting := [lane for lane in self.lanes if not lane.ended]:
            forks = [(lane, lane.asked) for lane in waiting if isinstance(lane.asked, Fork)]
            if new := [(lane, fork) for lane, fork in forks if fork.lanes is None]:
                for lane, fork in new:
                    fork.lanes = self.begin(fork.works, lane)
            elif done := [lane for lane, fork in forks if fork.done]:
                serve(done[:1])
            else:
                serve([lane for lane in waiting if not isinstance(lane.asked, Fork)])

    def end(self) -> None:
        """End all lanes; they have ended, unless something ended this thread."""
        for lane, thread in zip(self.lanes, self.threads, strict=True):
            while thread.is_alive():
                lane.turn.put(Cancelled())
                thread.join(0.1)


def run_together(works: Sequence[Callable[[Lane], T]], device: torch.device) -> list[T | Exception]:
    """Run pieces of work in lockstep; returns what each gives, or the exception that ended it and it alone.

    Args:
        works: Each is called with its lane, in a thread of its own; no two of them run at the same time.
        device: Where their calls are made.
    """
    conductor = Conductor(device)
    try:
        lanes = conductor.begin(works)
        conductor.run()
    finally:
        conductor.end()
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
        enter_lane(lane)
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
