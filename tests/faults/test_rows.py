"""Every kind of fault in `experiments/faults` has its tests, under the names that stand there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = 23


def test_every_kind_of_fault_has_tests_that_exist():
    text = (ROOT / "experiments" / "faults" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) .*\| (\S[^|]*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, KINDS + 1))
    for number, tests in rows:
        for test in tests.split(", "):
            file, name = test.split("::")
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{number}: {test}"
