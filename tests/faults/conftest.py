"""What the campaign shares: processes that run the command by forking, and the table of how everything tried ended."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

COLUMNS = ("as expected", "unclear", "traceback", "hang", "silent")


@dataclass(frozen=True)
class Done:
    """How one command ended.

    Attributes:
        code: Its exit code; negative after a signal that it did not handle.
        output: Its standard output.
        error: Its standard error.
        hang: Whether it reached its limit and was killed.
        cpu: Seconds of CPU time from its fork on.
        seconds: Elapsed seconds from its fork on.
        torch: Whether torch was imported by its end.
    """

    code: int
    output: str
    error: str
    hang: bool
    cpu: float
    seconds: float
    torch: bool

    def outcome(self, *expected, codes=(2,)):
        """Put an end that has to be one clear line with all ``expected`` parts into one of the table's columns."""
        lines = self.error.strip().splitlines()
        if self.hang:
            return "hang"
        if "Traceback" in self.error or "Logging error" in self.error or self.code < 0:
            return "traceback"
        if self.code == 0 or not lines:
            return "silent"
        clear = self.code in codes and len(lines) == 1 and all(part in self.error for part in expected)
        return "as expected" if clear else "unclear"


class Forking:
    """A process that runs the command in forks of itself; see ``forking.py``."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, str(Path(__file__).with_name("forking.py")), *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.import_cpu = json.loads(self.process.stdout.readline())["cpu"]

    def start(self, *arguments, limit=60, **settings):
        """Begin a command; ``finish`` waits for it."""
        streams = {name: str(self.folder / name) for name in ("stdout", "stderr")}
        job = {"arguments": arguments, "limit": limit, **streams, **settings}
        print(json.dumps(job), file=self.process.stdin, flush=True)

    def finish(self):
        """Wait for the command that was begun last."""
        ended = json.loads(self.process.stdout.readline())
        output, error = ((self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        return Done(output=output, error=error, **ended)

    def __call__(self, *arguments, **settings):
        """Run a command to its end."""
        self.start(*arguments, **settings)
        return self.finish()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def forking(tmp_path_factory):
    """Start processes that run the command in forks of themselves."""
    started = []

    def start(*arguments):
        started.append(Forking(tmp_path_factory.mktemp("forking"), *arguments))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture(scope="session")
def command(forking):
    """Run the command with all libraries imported beforehand."""
    return forking("torch")


@pytest.fixture(scope="session")
def fresh_command(forking):
    """Run the command as a shell starts it: torch is not imported yet."""
    return forking()


@pytest.fixture
def tally(record_property):
    """Count an outcome in the campaign's table; returns whether it is as expected."""

    def count(kind, outcome):
        assert outcome in COLUMNS
        record_property("campaign", [kind, outcome])
        return outcome == "as expected"

    return count


def pytest_terminal_summary(terminalreporter):
    """Print the table of everything that was tried."""
    table = defaultdict(Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "campaign" and getattr(report, "when", "call") == "call":
                    table[value[0]][value[1]] += 1
    if not table:
        return
    table["all"] = sum(table.values(), Counter())
    terminalreporter.section("fault campaign")
    terminalreporter.write_line("| kind | tried | " + " | ".join(COLUMNS) + " |")
    terminalreporter.write_line("|---" * (len(COLUMNS) + 2) + "|")
    for kind, counts in table.items():
        cells = [kind, counts.total(), *(counts[column] for column in COLUMNS)]
        terminalreporter.write_line("| " + " | ".join(map(str, cells)) + " |")
