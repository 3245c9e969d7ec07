"""Run the command many times for the price of one import: a process that forks itself for every job it reads.

``python forking.py`` has imported what the command imports at its start, ``python forking.py torch`` also the libraries
that a run needs. Each job is a line of JSON on the standard input, each answer a line of JSON on the standard output.
A job is a process of its own, with its own session, streams, signals, limits and exit code.
"""

import json
import logging
import os
import resource
import signal
import sys
import tempfile
import time
import traceback

from diffharmon import run


def cpu(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def child(job: dict, report: int) -> None:
    """Become the command; never returns. Writes whether torch was imported to ``report``."""
    os.setsid()
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if job.get("file_size"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    if job.get("user"):
        os.setuid(job["user"])
    sys.argv, code = ["diffharmon", *job["arguments"]], 0
    os.environ.pop("HYDRA_FULL_ERROR", None)
    try:
        run.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os.write(report, b"1" if "torch" in sys.modules else b"0")
        os._exit(code)


def answer(job: dict) -> dict:
    """Run one job to its end, its signal or its limit of seconds."""
    read, write = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(read)
        child(job, write)
    os.close(write)
    begun, sent, hang = time.monotonic(), False, False
    while True:
        ended, status, usage = os.wait4(number, os.WNOHANG)
        if ended:
            break
        passed = time.monotonic() - begun
        if "signal" in job and not sent and passed > job["after"]:
            kill = os.killpg if job["signal"] == signal.SIGKILL else os.kill
            kill(number, job["signal"])
            sent = True
        if passed > job["limit"]:
            hang = True
            os.killpg(number, signal.SIGKILL)
        time.sleep(0.002)
    torch = os.read(read, 1) == b"1"
    os.close(read)
    seconds = time.monotonic() - begun
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "hang": hang, "cpu": cpu(usage), "seconds": seconds, "torch": torch}


def warm_up() -> None:
    """Run the command once, which imports all that a run needs."""
    with tempfile.TemporaryDirectory() as folder:
        parts = ("dataset=mini", "dataset.limit=1", "method=reinhard", "metrics=[full]", "trainer=cpu")
        sys.argv = ["diffharmon", *parts, f"hydra.run.dir={folder}"]
        run.main()
    logging.shutdown()


def main() -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever is printed by accident is no answer
    if "torch" in sys.argv[1:]:
        warm_up()
    print(json.dumps({"cpu": cpu(resource.getrusage(resource.RUSAGE_SELF))}), file=channel, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=channel, flush=True)


if __name__ == "__main__":
    main()
