"""How every command ends: an error that a user can fix is one clear line and exit code 2."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

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
        interrupted: What to print after Ctrl-C, which exits with code 130.
        explain: Returns a clearer error for some of them.
    """
    try:
        yield
    except (DiffharmonError, *errors) as error:
        stop(explain(error))
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        sys.exit(130)


def run_hydra_job(job: Callable[[], object], interrupted: str) -> None:
    """Run a Hydra job as a command; ``HYDRA_FULL_ERROR=1`` shows the whole traceback instead of one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from diffharmon.config import explain, prepare_overrides

    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        os.environ["DIFFHARMON_FULL_ERROR"] = "1"
        sys.argv[1:] = prepare_overrides(sys.argv[1:])
        job()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and the line is ours.
    with exit_codes(HydraException, OmegaConfBaseException, interrupted=interrupted, explain=explain):
        sys.argv[1:] = prepare_overrides(sys.argv[1:])
        job()


def wants_full_errors() -> bool:
    """Tell whether the user asked for tracebacks; ``run_hydra_job`` notes it before it mutes Hydra."""
    return os.environ.get("DIFFHARMON_FULL_ERROR") == "1"


def stop(error: Exception) -> NoReturn:
    """Print an error in one line and exit with code 2."""
    # Hydra leaves the message of some errors to their cause.
    print(f"error: {str(error) or error.__cause__}", file=sys.stderr)
    sys.exit(2)
