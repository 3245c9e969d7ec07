import os
import signal
import socket
import subprocess
import sys

import pytest

from diffharmon.errors import InputError
from diffharmon.run.folder_lock import only_writer

HOLD = "import sys, time; from diffharmon.run.folder_lock import only_writer\nfrom pathlib import Path\n"
HOLD += "with only_writer(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_by_process_and_host(tmp_path, other):
    with (
        pytest.raises(InputError, match=f"process {other.pid} on {socket.gethostname()} since 20"),
        only_writer(tmp_path),
    ):
        pass


def test_a_killed_writers_folder_is_free(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with only_writer(tmp_path):
        pass


def test_a_released_folder_can_be_written_again(tmp_path):
    for _ in range(2):
        with only_writer(tmp_path):
            pass
    assert {path.name for path in tmp_path.iterdir()} <= {".writer.lock"}


def test_an_error_inside_releases_the_folder(tmp_path):
    with pytest.raises(RuntimeError), only_writer(tmp_path):
        raise RuntimeError
    with only_writer(tmp_path):
        pass
