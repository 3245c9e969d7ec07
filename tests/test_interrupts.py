import os
import signal
import subprocess
import sys

import pytest

from diffharmon.command.interrupts import Interrupted, StopRequest, handlers


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_between_images_ends_the_command_at_once(number, code):
    with pytest.raises(Interrupted) as raised, handlers():
        send(number)
    assert raised.value.exit_code == code


def test_the_former_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted), handlers():
        send(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_while_an_image_is_under_way_is_only_noted():
    stop = StopRequest()
    with handlers(stop.handle):
        assert not stop
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert stop
        assert stop.signal == signal.SIGTERM
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


def test_a_signal_is_passed_on_to_the_other_processes():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    stop = StopRequest()
    stop.processes = [child]
    with handlers(stop.handle):
        send(signal.SIGINT)
    assert child.wait(10) == -signal.SIGTERM


def test_an_interruption_is_no_error_of_an_image():
    assert not issubclass(Interrupted, Exception)
