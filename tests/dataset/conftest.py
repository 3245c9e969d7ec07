"""The script that checks a dataset, in this process: what it imports is loaded already."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_dataset.py"


@pytest.fixture
def check_dataset(monkeypatch, capsys):
    """Run the script as if from a shell; gives its exit code and what it wrote."""

    def run(*arguments) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), *capsys.readouterr())

    return run
