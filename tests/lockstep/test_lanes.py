"""Pieces of work in lockstep: which calls are made together, what one that fails does to the others, whose seconds."""

import threading
import time
from dataclasses import dataclass

import pytest
import torch

from diffharmon.lockstep.conductor import run_together
from diffharmon.lockstep.lanes import Lane
from diffharmon.types import Event, Watcher, ignore

CPU = torch.device("cpu")


@dataclass
class Doubled:
    """A call that doubles numbers; together they are noted in ``made``."""

    value: int
    made: list
    rows: int = 1
    kind: str = "double"

    @property
    def key(self):
        return self.kind

    def together(self, calls):
        self.made.append([call.value for call in calls])
        if any(call.value < 0 for call in calls):
            raise ValueError(f"{len(calls)} calls, one of them negative")
        return [2 * call.value for call in calls]


def test_calls_that_fit_are_made_together_and_each_lane_gets_its_own():
    made, running = [], []

    def work(lane: Lane):
        running.append(threading.current_thread())
        assert len([thread for thread in running if thread is threading.current_thread()]) == 1
        first = lane.ask(Doubled(lane.number, made))
        return lane.ask(Doubled(first + 10, made))

    assert run_together([work] * 3, CPU) == [20, 24, 28]
    assert made == [[0, 1, 2], [10, 12, 14]]
    assert not any(thread.is_alive() for thread in running)


def test_what_fails_fails_alone():
    made = []

    def work(lane: Lane):
        if lane.number == 1:
            raise KeyError("planned")
        return lane.ask(Doubled(lane.number - 1, made))

    results = run_together([work] * 3, CPU)
    assert isinstance(results[0], ValueError), "its own call cannot be made"
    assert "1 calls" in str(results[0])
    assert isinstance(results[1], KeyError)
    assert results[2] == 2
    assert made == [[-1, 1], [-1], [1]]


def test_the_lane_that_is_furthest_behind_goes_first_so_that_lanes_meet_again():
    made = []

    def work(lane: Lane):
        follow = lane.follow(ignore)
        with follow.stage("one"):
            for step in range(4 if lane.number else 1):  # one of them ends its updates early
                lane.ask(Doubled(step, made, kind="update"))
                follow(Event("one", step, 4, {}))
        with follow.stage("two"):
            return lane.ask(Doubled(100, made, kind="last"))

    assert run_together([work] * 2, CPU) == [200, 200]
    assert made == [[0, 0], [1], [2], [3], [100, 100]]


def test_seconds_are_a_lanes_own_and_its_share_of_calls_by_rows():
    @dataclass
    class Slow(Doubled):
        def together(self, calls):
            time.sleep(0.2)
            return [None] * len(calls)

    def work(lane: Lane):
        begun = lane.clock()
        lane.ask(Slow(0, [], rows=3 if lane.number else 1))
        return lane.clock() - begun

    short, long = run_together([work] * 2, CPU)
    assert short == pytest.approx(0.05, abs=0.04)
    assert long == pytest.approx(0.15, abs=0.04)


def test_an_interrupt_ends_every_lane():
    threads = []

    @dataclass
    class Interrupted(Doubled):
        def together(self, calls):
            raise KeyboardInterrupt

    def work(lane: Lane):
        threads.append(threading.current_thread())
        return lane.ask(Interrupted(0, []))

    with pytest.raises(KeyboardInterrupt):
        run_together([work] * 3, CPU)
    assert len(threads) == 3
    assert not any(thread.is_alive() for thread in threads)


def test_lanes_have_the_callers_settings_of_torch():
    def work(lane: Lane):
        return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_num_threads()

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_num_threads()
        assert run_together([work] * 2, CPU) == [expected] * 2
    assert run_together([work], CPU) == [(True, False, torch.get_num_threads())]


def test_a_follower_passes_everything_on():
    class Noting(Watcher):
        def __init__(self):
            self.seen = []

        def __call__(self, event):
            self.seen.append(event.step)

    noting = Noting()

    def work(lane: Lane):
        lane.follow(noting)(Event("edit", 3, 5, {}))
        return lane.progress

    assert run_together([work], CPU) == [(0, 4)]
    assert noting.seen == [3]


def test_a_lane_that_forks_waits_for_its_own_lanes_which_share_calls_with_all_others():
    made = []

    def inner(number):
        def work(lane: Lane):
            if number == 2:
                raise KeyError("planned")
            return lane.lanes, lane.ask(Doubled(10 + number, made))

        return work

    def work(lane: Lane):
        if lane.number == 0:
            return lane.ask(Doubled(1, made))
        found = lane.fork([inner(number) for number in range(3)])
        return found, lane.ask(Doubled(5, made))

    alone, (forked, last) = run_together([work] * 2, CPU)
    assert alone == 2
    assert forked[:2] == [(6, 20), (6, 22)], "two lanes by three"
    assert isinstance(forked[2], KeyError)
    assert last == 10
    assert made == [[1, 10, 11], [5]]
