"""Imports point one way: every room of the package imports only what its rule names, and never in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "diffharmon"
# What a room may import besides itself; a name is the first part below the package.
ALLOWED: dict[str, set[str]] = {
    "columns": set(),
    "errors": set(),
    "types": set(),
    "__init__": {"api"},
    "api": {"config", "describer", "errors", "images", "method", "types"},
    "app": {"api", "command", "condition", "config", "errors", "files", "images", "results", "run", "types"},
    "attention": {"types"},
    "backbone": {"attention", "errors", "lockstep", "results", "types"},
    "clip_model": {"files", "images", "lockstep"},
    "command": {"config", "errors"},
    "condition": {"clip_model", "errors", "files", "images", "lockstep", "types"},
    "config": {"errors", "files", "protocols"},
    "dataset": {"condition", "errors", "files", "images", "types"},
    "describer": {"clip_model", "condition", "errors", "files", "images", "language_model", "protocols", "types"},
    "embedding": {"condition", "errors", "protocols", "types"},
    "evaluator": {
        "clip_model",
        "condition",
        "errors",
        "files",
        "images",
        "language_model",
        "lockstep",
        "preference",
        "protocols",
        "types",
    },
    "files": {"errors"},
    "images": {"errors", "files", "types"},
    "language_model": {"errors", "files"},
    "logger": {"columns", "errors", "files", "results", "types"},
    "lockstep": {"types"},
    "method": {
        "condition",
        "embedding",
        "errors",
        "files",
        "images",
        "language_model",
        "lockstep",
        "protocols",
        "structure",
        "types",
    },
    "metrics": {"clip_model", "columns", "errors", "images", "protocols"},
    "preference": {"errors", "language_model"},
    "pricing": {"config", "errors", "files", "types"},
    "protocols": {"columns", "types"},
    "recomposer": {"condition", "images", "types"},
    "reference": {
        "backbone",
        "config",
        "embedding",
        "errors",
        "images",
        "method",
        "protocols",
        "sampler",
        "structure",
        "types",
    },
    "report": {"columns", "command", "errors", "preference", "results"},
    "results": {"columns", "errors", "files", "images", "method", "protocols", "types"},
    "run": {
        "command",
        "config",
        "errors",
        "files",
        "images",
        "method",
        "metrics",
        "pricing",
        "protocols",
        "report",
        "results",
        "types",
    },
    "sampler": {"errors", "protocols", "types"},
    "structure": {"errors", "images", "protocols", "types"},
    "study": {"command", "errors", "files", "language_model", "preference", "report"},
    "training": {"condition", "config", "errors", "evaluator", "files", "images", "method"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diffharmon"):
            parts = (node.module or "").split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("diffharmon."))


def files_of(room):
    module = PACKAGE / f"{room}.py"
    return [module] if module.is_file() else sorted((PACKAGE / room).rglob("*.py"))


def test_every_room_has_a_rule():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert rooms - {"assets"} == set(ALLOWED)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_its_rule_names(room):
    assert files_of(room)
    for path in files_of(room):
        others = set(imported(path)) - ALLOWED[room] - {room, "__version__"}
        assert not others, f"{path.relative_to(PACKAGE)} imports {sorted(others)}"


def test_rooms_import_each_other_in_no_circle():
    left = {room: set(below) for room, below in ALLOWED.items()}
    while left:
        free = {room for room, below in left.items() if not below & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {room: below for room, below in left.items() if room not in free}


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import diffharmon; "
        "print({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'diffharmon'}"


def test_files_stay_short():
    long = {str(path): n for path in PACKAGE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 300}
    assert not long
