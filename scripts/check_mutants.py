"""Make plausible mistakes in scratch copies of the package, one at a time, and see whether the tests catch each.

    python scripts/check_mutants.py [--jobs 2] [--only NAME ...]

Prints a table. Exits with 1 when a mistake survives its tests or cannot be made because its old text does not stand
exactly once in its file, and with 2 when the tests fail without any mistake.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_name("mutants.toml")
TIMEOUT = 600  # seconds that one mistake's tests may take
LINKED = ("assets",)  # large and never changed: linked into the copy


@dataclass(frozen=True)
class Mutant:
    """One mistake: in ``file``, the only ``old`` becomes ``new``; one of ``tests`` should fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What became of a mistake: ``caught``, ``survived`` or ``error``, with the first failed test or the reason."""

    name: str
    verdict: str
    seconds: float
    detail: str


def read_mutants(path: Path = TABLE) -> list[Mutant]:
    """Read the table of mistakes."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows]


def scratch_copy(folder: Path) -> None:
    """Copy package, configuration and tests; the configuration stands in the package, as in a wheel."""
    for part in ("diffharmon", "conf", "tests"):
        skipped = shutil.ignore_patterns(*LINKED) if part == "diffharmon" else None
        shutil.copytree(ROOT / part, folder / part, ignore=skipped)
    for name in LINKED:
        (folder / "diffharmon" / name).symlink_to(ROOT / "diffharmon" / name)
    (folder / "diffharmon" / "conf").symlink_to(folder / "conf")
    shutil.copy(ROOT / "pyproject.toml", folder)


def make_mistake(folder: Path, mutant: Mutant) -> str | None:
    """Write the mistake into a copy; return why that is impossible, if it is."""
    path = folder / mutant.file
    if not path.is_file():
        return f"{mutant.file} does not exist"
    text = path.read_text(encoding="utf-8")
    found = text.count(mutant.old)
    if found != 1:
        return f"old text stands {found} times in {mutant.file}, expected once"
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return None


def run_tests(folder: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy until the first failure, with the copy first on the path."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    options = ("-n", "0", "-x", "-rfE", "--tb=line", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, *tests]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )


def try_mutant(mutant: Mutant) -> Result:
    """Make one mistake in a copy of its own and run its tests."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        scratch_copy(folder)
        impossible = make_mistake(folder, mutant)
        if impossible:
            return Result(mutant.name, "error", 0.0, impossible)
        try:
            done = run_tests(folder, mutant.tests)
        except subprocess.TimeoutExpired:
            return Result(mutant.name, "error", time.perf_counter() - start, f"no end within {TIMEOUT} s")
    seconds = time.perf_counter() - start
    if done.returncode == 0:
        return Result(mutant.name, "survived", seconds, " ".join(mutant.tests))
    failed = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        lines = (done.stdout + done.stderr).strip().splitlines()
        return Result(mutant.name, "error", seconds, lines[-1] if lines else f"pytest ended with {done.returncode}")
    return Result(mutant.name, "caught", seconds, failed[1])


def check_unchanged(mutants: Sequence[Mutant]) -> str | None:
    """Run the tests of all mistakes on a copy without any; return the first failure, if there is one."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        scratch_copy(folder)
        done = run_tests(folder, tests)
    return None if done.returncode == 0 else (done.stdout + done.stderr).strip()


def main() -> int:
    """Parse arguments, try every mistake and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1, help="mistakes tried at the same time")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="parts of names; all by default")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    arguments = parser.parse_args()
    chosen = [m for m in read_mutants() if not arguments.only or any(part in m.name for part in arguments.only)]
    if arguments.list or not chosen:
        print("\n".join(mutant.name for mutant in (chosen or read_mutants())))
        return 0 if chosen else 2
    failure = check_unchanged(chosen)
    if failure is not None:
        print(f"the tests fail without any mistake:\n{failure}", file=sys.stderr)
        return 2
    print(f"{'mistake':<58} {'verdict':<9} {'seconds':>7}  first failed test, or reason")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = []
        for result in pool.map(try_mutant, chosen):
            results.append(result)
            print(f"{result.name:<58} {result.verdict:<9} {result.seconds:7.1f}  {result.detail}", flush=True)
    missed = [result for result in results if result.verdict != "caught"]
    print(f"{len(results)} mistakes, {len(results) - len(missed)} caught, {len(missed)} not")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
