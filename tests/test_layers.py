"""Imports point one way: types <- protocols <- images, attention, guidance <- kinds <- method <- module <- run."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "diffharmon"
KINDS = {"dataset", "describer", "backbone", "embedding", "structure", "recomposer", "evaluator", "logger", "sampler"}
BASE = {"types", "errors", "files", "columns", "protocols", "images", "guidance", "condition", "loading", "clip_model"}
BASE |= {"word_weights"}
# What a layer may import besides itself; a name is the first part below the package.
ALLOWED = {
    "types": set(),
    "errors": set(),
    "columns": set(),
    "files": set(),
    "command": {"errors", "config"},
    "names": set(),
    "protocols": {"types", "columns"},
    "images": {"errors", "files", "types"},
    "condition": {"errors", "types", "images"},
    "attention": {"errors", "types"},
    "guidance": {"types", "protocols"},
    "cost": {"types"},
    "word_weights": {"types", "protocols", "condition"},
    "reader": BASE,
    "loading": {"errors", "files"},
    "clip_model": {"loading", "images", "files"},
    "metrics": {"errors", "columns", "protocols", "images", "types", "clip_model"},
    "panels": {"files", "images", "types"},
    "config": {"errors", "files", "protocols"},
    "progress": {"types"},
    "finite": {"errors", "types"},
    "folder_lock": {"errors"},
    "interrupts": set(),
    "provenance": {"files", "protocols", "types"},
    "sweep": {"errors", "files", "results"},
    **dict.fromkeys(KINDS, BASE),
    "backbone": BASE | {"attention"},
    "describer": BASE | {"reader"},
    "logger": BASE | {"panels", "results", "config"},  # several loggers build their parts
    "report": {"columns", "command", "errors", "results"},
    "method": BASE | KINDS | {"cost", "finite", "reader"},
    "reference": BASE | KINDS | {"method", "config"},
    "results": BASE | {"panels"},
    "module": BASE | {"results", "metrics", "progress", "panels", "finite", "provenance", "interrupts"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diffharmon"):
            parts = (node.module or "").split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("diffharmon."))


@pytest.mark.parametrize("layer", sorted(ALLOWED))
def test_a_layer_imports_only_what_lies_below_it(layer):
    module = PACKAGE / f"{layer}.py"
    files = [module] if module.is_file() else sorted((PACKAGE / layer).rglob("*.py"))
    assert files
    for path in files:
        above = set(imported(path)) - ALLOWED[layer] - {layer}
        assert not above, f"{path.relative_to(PACKAGE)} imports {sorted(above)}"


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "diffusers", "lightning", "hydra")
    code = f"import sys, diffharmon; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_short():
    long = {str(path): n for path in PACKAGE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 300}
    assert not long
