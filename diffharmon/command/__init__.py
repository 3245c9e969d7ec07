"""How every command ends: an error that a user can fix is one clear line and exit code 2."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from diffharmon.command.interrupts import Interrupted, handlers
from diffharmon.errors import DiffharmonError


@contextmanager
def exit_codes(
    *errors: type[Exception],
    interrupted: str = "interrupted",
    explain: Callable[[Exception], Exception] = lambda error: error,
) -> Iterator[None]:
    """Turn errors into a line and an exit code.

    Args:
        errors: Further errors that are the user's to fix, besides ``DiffharmonError``.
        interrupted: What to print after Ctrl-C and SIGTERM, which exit with codes 130 and 143.
        explain: Returns a clearer error for some of them.
    """
    fixable: tuple[type[Exception], ...] = (DiffharmonError, *errors)
    with exit_codes_of_signals(interrupted):
        try:
            yield
        except fixable as error:
            stop(explain(error))


@contextmanager
def exit_codes_of_signals(interrupted: str) -> Iterator[None]:
    """End with code 130 after Ctrl-C and 143 after SIGTERM, and one line.

    Args:
        interrupted: What is kept and how to go on.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        sys.exit(130)
    except Interrupted as error:
        # A run that stopped after an image has said how to go on.
        text = str(error) if "goes on" in str(error) else f"{error}; {interrupted}"
        print(text, file=sys.stderr)
        sys.exit(error.exit_code)


def run_hydra_job(job: Callable[[], object], interrupted: str) -> None:
    """Run a Hydra job as a command; ``HYDRA_FULL_ERROR=1`` shows the whole traceback instead of one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from diffharmon.config import explain, prepare_overrides

    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        os.environ["DIFFHARMON_FULL_ERROR"] = "1"
        with exit_codes_of_signals(interrupted), handlers():
            sys.argv[1:] = prepare_overrides(sys.argv[1:])
            job()
        return
    logging.raiseExceptions = False  # a full disk must not print a traceback for each line that cannot be logged
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and the line is ours.
    known = (HydraException, OmegaConfBaseException, OSError)
    try:
        with exit_codes(*known, interrupted=interrupted, explain=explain), handlers():
            sys.argv[1:] = prepare_overrides(sys.argv[1:])
            job()
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def wants_full_errors() -> bool:
    """Tell whether the user asked for tracebacks; ``run_hydra_job`` notes it before it mutes Hydra."""
    return os.environ.get("DIFFHARMON_FULL_ERROR") == "1"


def describe_error(error: BaseException) -> str:
    """Return an error's message; the operating system's errors with their file in plain words."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, DiffharmonError):
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    # Hydra leaves the message of some errors to their cause.
    return str(error) or str(error.__cause__)


def stop(error: Exception) -> NoReturn:
    """Print an error in one line and exit with code 2."""
    print(f"error: {describe_error(error)}", file=sys.stderr)
    sys.exit(2)
