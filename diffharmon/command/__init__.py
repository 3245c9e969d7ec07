"""How every command ends: an error that a user can fix is one clear line and exit code 2."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from diffharmon.command.interrupts import Interrupted, handlers
from diffharmon.errors import DiffharmonError, describe_error


@contextmanager
def exit_codes(
    interrupted: str = "interrupted",
    explain: Callable[[Exception], Exception] = lambda error: error,
    trace: bool | None = None,
) -> Iterator[None]:
    """Turn errors into a line and an exit code; see `stop`.

    Args:
        interrupted: What to print after Ctrl-C and SIGTERM, which exit with codes 130 and 143.
        explain: Returns a clearer error for some of them.
        trace: Show the traceback instead; None follows ``HYDRA_FULL_ERROR``.
    """
    shown = os.environ.get("HYDRA_FULL_ERROR") == "1" if trace is None else trace
    with exit_codes_of_signals(interrupted):
        try:
            yield
        except Exception as error:
            raise_interruption(error)
            if shown:
                raise
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
        # A run that stopped after an image has already reported how to go on.
        text = str(error) if "goes on" in str(error) else f"{error}; {interrupted}"
        print(text, file=sys.stderr)
        sys.exit(error.exit_code)


def run_hydra_job(job: Callable[[], object], interrupted: str) -> None:
    """Run a Hydra job as a command; ``HYDRA_FULL_ERROR=1`` shows the whole traceback instead of one line."""
    from diffharmon.config import explain, prepare_overrides

    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        os.environ["DIFFHARMON_FULL_ERROR"] = "1"
        with exit_codes_of_signals(interrupted), handlers():
            sys.argv[1:] = prepare_overrides(sys.argv[1:])
            job()
        return
    logging.raiseExceptions = False  # a full disk must not print a traceback for each line that cannot be logged
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and the line is ours.
    try:
        with exit_codes(interrupted, explain, trace=False), handlers():
            sys.argv[1:] = prepare_overrides(sys.argv[1:])
            job()
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def wants_full_errors() -> bool:
    """Return whether the user asked for tracebacks; ``run_hydra_job`` notes it before it mutes Hydra."""
    return os.environ.get("DIFFHARMON_FULL_ERROR") == "1"


def stop(error: Exception) -> NoReturn:
    """Print an error in one line and exit: with code 2 where a user can fix it, else with 1 and the way to a trace."""
    error = of_the_system(error)
    if is_fixable(error):
        print(f"error: {describe_error(error)}", file=sys.stderr)
        sys.exit(2)
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    print(f"error: unexpected {text} (a defect of diffharmon; HYDRA_FULL_ERROR=1 shows where)", file=sys.stderr)
    sys.exit(1)


def raise_interruption(error: BaseException) -> None:
    """Raise the signal behind an error: what is interrupted in the middle may fail while it is put back.

    Raises:
        Interrupted: A signal was being handled when the error came up.
    """
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, Interrupted):
            raise inner
        inner = inner.__cause__ or inner.__context__


def of_the_system(error: Exception) -> Exception:
    """Return the operating system's error that a library wrapped in one of its own; else the error itself."""
    if isinstance(error, DiffharmonError):
        return error
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, OSError):
        inner = inner.__cause__
    return inner or error


def is_fixable(error: Exception) -> bool:
    """Return whether a user can fix an error: ours, the operating system's, too little memory, a configuration."""
    if isinstance(error, (DiffharmonError, OSError, MemoryError)) or type(error).__name__ == "OutOfMemoryError":
        return True
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, (HydraException, OmegaConfBaseException))
