"""The table of mistakes that ``scripts/check_mutants.py`` makes still fits the package and the tests."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = tomllib.loads((ROOT / "scripts" / "mutants.toml").read_text(encoding="utf-8"))["mutant"]


def test_every_mistake_has_a_name_of_its_own_and_there_are_enough():
    assert len({mutant["name"] for mutant in MUTANTS}) == len(MUTANTS) >= 16


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant["name"])
def test_a_mistake_can_be_made_and_its_tests_exist(mutant):
    text = (ROOT / mutant["file"]).read_text(encoding="utf-8")
    assert text.count(mutant["old"]) == 1
    if mutant["file"].endswith(".py"):
        ast.parse(text.replace(mutant["old"], mutant["new"]))
    assert mutant["tests"]
    for test in mutant["tests"]:
        path, _, function = test.partition("::")
        assert f"def {function.rpartition('::')[2]}" in (ROOT / path).read_text(encoding="utf-8")
