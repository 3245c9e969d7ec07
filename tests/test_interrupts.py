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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("moment", ["harmonized", "written"])
def test_a_signal_ends_a_run_after_exactly_the_image_at_hand(tmp_path, monkeypatch, call_command, number, code, moment):
    from diffharmon.method.color_transfer import ColorTransfer
    from diffharmon.run.result_writer import ResultWriter

    harmonize, write, harmonized, written = ColorTransfer.harmonize, ResultWriter.write, [], []

    def harmonize_and_signal(self, composite, observe):
        harmonized.append(composite.name)
        if moment == "harmonized" and len(harmonized) == 2:
            send(number)
        return harmonize(self, composite, observe)

    def signal_and_write(self, prediction, rank):
        written.append(prediction.composite.name)
        if moment == "written" and len(written) == 2:
            send(number)
        write(self, prediction, rank)

    monkeypatch.setattr(ColorTransfer, "harmonize", harmonize_and_signal)
    monkeypatch.setattr(ResultWriter, "write", signal_and_write)
    run = ("dataset=mini", "dataset.limit=5", "method=reinhard", "metrics=[ihd256]", "trainer=cpu", "output=minimal")
    done = call_command(tmp_path / "run", *run)
    assert done.returncode == code
    assert written == harmonized
    assert len(written) == 2 if moment == "harmonized" else len(written) in (2, 3)
    assert f"{len(written)} of 5 images are done; the same command with hydra.run.dir=" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
