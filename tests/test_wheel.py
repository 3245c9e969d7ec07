"""The wheel carries configuration and models, so that an installed diffharmon works from any folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The wheel's content in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    # The tool chain that builds is the installed one: tests run offline.
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "content")
    return folder / "content"


def test_it_holds_every_configuration_file_and_the_models(unpacked):
    shipped = {str(path.relative_to(unpacked / "diffharmon" / "conf")) for path in unpacked.rglob("conf/**/*.yaml")}
    written = {str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*.yaml")}
    assert shipped == written
    assets = {str(path.relative_to(ROOT)) for path in (ROOT / "diffharmon" / "assets").rglob("*") if path.is_file()}
    assert all((unpacked / name).is_file() for name in assets if "__pycache__" not in name)
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"diffharmon"}


def test_it_runs_outside_the_checkout(unpacked, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = 'diffharmon';"
        "import diffharmon; assert 'content' in diffharmon.__file__, diffharmon.__file__;"
        "from diffharmon.run import main; main()"
    )
    arguments = [
        "experiment=demo",
        "evaluator=none",
        "sampler.steps=2",
        "output=minimal",
        "hydra.run.dir=out",
        "trainer=cpu",
    ]
    line = [sys.executable, "-c", code, str(unpacked), *arguments]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "images" / "coffee" / "harmonized.png").is_file()
    assert "fPSNR" in done.stdout + done.stderr
