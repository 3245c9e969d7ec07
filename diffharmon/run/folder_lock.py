"""One writer a run folder: a second run in the same folder is refused with the first one's process and host."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from diffharmon.errors import InputError

LOCK, HOLDER = ".writer.lock", ".writer.json"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock inside the ``with``.

    The operating system releases the lock with the process, however it ends, so nothing stale remains after a kill.

    Raises:
        InputError: Another process holds it; the message names process, host and start.
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK, timeout=0), folder / HOLDER
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder} is being written by {describe_holder(holder)}; expected one run a folder: wait for it, stop it, "
            "or choose another hydra.run.dir"
        ) from None
    try:
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        who = {"process": os.getpid(), "host": socket.gethostname(), "started": started}
        holder.write_text(json.dumps(who) + "\n", encoding="utf-8")
        yield
    finally:
        # Removed while the lock is held, so that it never is another writer's.
        holder.unlink(missing_ok=True)
        lock.release()


def describe_holder(path: Path) -> str:
    """Name the process that holds the lock, as far as it recorded itself."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']} since {who['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
