"""The README's commands and snippets are run as they stand, on files of the names they use."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffharmon import images
from diffharmon.config import composed
from diffharmon.dataset.demo import Demo

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
SHELL = [block.replace("\\\n", " ") for language, block in FENCES if not language]
COMMANDS = [line.split("#")[0].strip() for block in SHELL for line in block.splitlines() if "diffharmon " in line]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The demo composite under the names that the README uses, in the working folder."""
    demo = Demo()[0]
    images.write_image(tmp_path / "composite.png", demo.image)
    images.write_image(tmp_path / "mask.png", demo.mask)
    pixels, cover = (np.asarray(Image.open(tmp_path / name)) for name in ("composite.png", "mask.png"))
    Image.fromarray(np.dstack([pixels, cover])[40:-40, 40:-40]).save(tmp_path / "cut_out.png")
    for folder, name in (("DIR", "composite.png"), ("EDITS", "composite.png")):
        (tmp_path / folder).mkdir()
        images.write_image(tmp_path / folder / name, demo.real if folder == "EDITS" else demo.image)
    images.write_image(tmp_path / "DIR" / "composite_mask.png", demo.mask)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_snippet_runs(files):
    (snippet,) = [block for language, block in FENCES if language == "python"]
    exec(compile(snippet, "README.md", "exec"), {})
    assert Image.open("harmonized.png").size == Image.open("composite.png").size
    assert Path("look.cube").read_text().startswith("TITLE")


@pytest.mark.parametrize("start", ["diffharmon dataset=single", "diffharmon dataset=folder"])
def test_the_commands_for_files_of_ones_own_run(start, files, call_command):
    (command,) = [line for line in COMMANDS if line.startswith(start) and "..." not in line]
    done = call_command(files / "run", *shlex.split(command)[1:], "metrics=[]")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("diffharmon ") and "-m" not in line])
def test_every_other_command_composes(line, monkeypatch):
    monkeypatch.setenv("PIDINET_WEIGHTS", "weights.pth")
    given = {"dataset=single", "dataset=folder"} & set(shlex.split(line))
    words = [word for word in shlex.split(line)[1:] if word != "..." and not word.startswith("hydra.")]
    composed(words if given else [*words, "dataset=demo"])
