"""All comparisons of a folder of golden cases."""

from collections.abc import Sequence
from pathlib import Path

from diffharmon.errors import InputError
from diffharmon.reference.golden.cases import quirks_method, read_case
from diffharmon.reference.golden.components import component_rows
from diffharmon.reference.golden.forced import forced_rows
from diffharmon.reference.golden.free import free_rows
from diffharmon.reference.golden.table import Row, render

PIDINET = Path("weights") / "pidinet" / "table5_pidinet-tiny.pth"


def check(pipeline: Path, cases: Path, names: Sequence[str], pidinet: Path | None) -> tuple[str, bool]:
    """Compare every case, and ``module_io.npz`` where it is and no case is named.

    Args:
        pipeline: Model folder of the golden runs.
        cases: Folder of case folders, with ``inputs/`` beside them.
        names: Cases to check; none means all.
        pidinet: Learned edge weights; by default looked for in ``weights/pidinet`` beside ``cases``. Without them the
            learned-edge term, which has no gradient in the reference, is left out.

    Returns:
        The table, and whether every error is within its tolerance.

    Raises:
        InputError: No case is found, or one is not of the format.
    """
    beside = cases.resolve().parent / PIDINET
    pidinet = pidinet or (beside if beside.is_file() else None)
    chosen = list(names) or sorted(path.parent.name for path in cases.glob("*/case.json"))
    if not chosen:
        raise InputError(f"{cases}: expected case folders with case.json, found none")
    rows: list[Row] = []
    if not names and (cases / "module_io.npz").is_file():
        rows += component_rows(pipeline, cases, pidinet)
    for name in chosen:
        rows += case_rows(pipeline, cases, name, pidinet)
    exceeded = [row for row in rows if not row.passed]
    verdict = f"\n{len(rows)} quantities compared, {len(exceeded)} beyond their tolerance"
    return render(rows) + "\n" + verdict, not exceeded


def case_rows(pipeline: Path, cases: Path, name: str, pidinet: Path | None) -> list[Row]:
    """Compare all iterations of one case, free-running and teacher-forced."""
    case = read_case(cases / name, cases)
    method = quirks_method(pipeline, case, pidinet)
    rows: list[Row] = []
    for iteration in range(case.iterations):
        label = f"{name}, iteration {iteration}"
        rows += free_rows(method, case, iteration, label)
        rows += forced_rows(method, case, iteration, label)
    return rows
