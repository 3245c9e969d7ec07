"""One writer a run folder or shard of it: a second one is refused with the first one's process and host."""

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
BRIEFLY = 5.0  # seconds that a shard waits while another one looks whether a whole run is at work


@contextmanager
def only_writer(folder: Path, shard: str = "") -> Iterator[None]:
    """Hold the lock of a folder, or of one shard of it, inside the ``with``.

    Shards of one count write side by side; a whole run, or shards of another count, never while one of them does. The
    operating system releases a lock with its process, however it ends, so nothing stale remains after a kill.

    Args:
        folder: The run's folder.
        shard: The shard's name, such as ``shard3of8``; empty for a whole run.

    Raises:
        InputError: Another process holds it; the message names process, host and start.
        OSError: The folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = FileLock(folder / LOCK)
    own, holder = whole, folder / HOLDER
    acquire(whole, holder, BRIEFLY if shard else 0.0)
    try:
        if shard:
            own, holder = FileLock(folder / f".writer-{shard}.lock"), folder / f".writer-{shard}.json"
            acquire(own, holder)
        refuse_others(folder, shard)
    except BaseException:
        own.release()
        whole.release()
        raise
    if shard:
        whole.release()
    try:
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        who = {"process": os.getpid(), "host": socket.gethostname(), "started": started}
        holder.write_text(json.dumps(who) + "\n", encoding="utf-8")
        yield
    finally:
        # Removed while the lock is held, so that it never is another writer's.
        holder.unlink(missing_ok=True)
        own.release()


def acquire(lock: FileLock, holder: Path, timeout: float = 0.0) -> None:
    """Take a lock; raises ``InputError`` that names who holds it."""
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise InputError(
            f"{holder.parent} is being written by {describe_holder(holder)}; expected one run a folder: wait for it, "
            "stop it, or choose another hydra.run.dir"
        ) from None


def refuse_others(folder: Path, shard: str) -> None:
    """Raise ``InputError`` where a shard of another count is being written, or any while the whole run should be."""
    count = shard.rpartition("of")[2]
    for path in sorted(folder.glob(".writer-*.lock")):
        if not shard or not path.name.endswith(f"of{count}.lock"):
            lock = FileLock(path)
            acquire(lock, path.with_suffix(".json"))
            lock.release()


def describe_holder(path: Path) -> str:
    """Name the process that holds the lock, as far as it recorded itself."""
    try:
        who = json.loads(path.read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']} since {who['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
