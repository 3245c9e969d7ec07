"""What several test files share: a toy Stable Diffusion folder, a toy photo composite, and the command itself."""

import gc
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from toys import write_stable_diffusion

from diffharmon import results, run
from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.sampler.ddim import DDIM, DDIMSchedule
from diffharmon.sampler.loops import invert
from diffharmon.structure.pidinet_network import PiDiNetNetwork
from diffharmon.types import Composite, Conditioning, Description, Guidance, Inversion, StructureGuidance

torch.set_num_threads(1)
# What the libraries hold for good is looked through at every collection, which takes its time.
gc.set_threshold(50_000, 20, 50)

SHARED = Path(__file__).resolve().parents[2] / "shared"


def absent(what: str) -> None:
    """Skip a test whose files are not here; in continuous integration, which must not pass untested, fail it."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Sample data and weights that stand beside the checkout, where they exist."""
    if not SHARED.is_dir():
        absent(f"the shared folder with sample photos and weights is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """The full recordings of the public code, where they exist; `tests/reference/golden` has a few numbers of them."""
    folder = SHARED / "parity"
    if not folder.is_dir():
        absent(f"the folder with the public code's golden tensors is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def pipeline_folder(tmp_path_factory) -> Path:
    """A toy Stable Diffusion folder that predicts noise, with the PNDM scheduler that Stable Diffusion 2 names."""
    return write_stable_diffusion(tmp_path_factory.mktemp("epsilon"))


@pytest.fixture(scope="session")
def velocity_folder(tmp_path_factory) -> Path:
    """A toy Stable Diffusion folder that predicts velocity."""
    return write_stable_diffusion(tmp_path_factory.mktemp("velocity"), "v_prediction")


@pytest.fixture(scope="session")
def backbone(pipeline_folder) -> StableDiffusion:
    """The toy model; tests leave it as they found it."""
    return StableDiffusion(str(pipeline_folder), size=64)


@pytest.fixture(scope="session")
def schedule(backbone) -> DDIMSchedule:
    """Five steps for the toy model."""
    return DDIM(steps=5).schedule(backbone)


@pytest.fixture
def description() -> Description:
    """Two words against one."""
    return Description("cat", ("dim", "cold"), ("bright",), "test")


@pytest.fixture
def conditioning(backbone, description) -> Conditioning:
    """Both prompts and the empty one, as the toy model embeds them."""
    with torch.no_grad():
        texts = backbone.embed([description.foreground_prompt, description.background_prompt, ""])
    return Conditioning(*(text.expand(5) for text in texts), description, backbone.words(description))


@pytest.fixture
def inversion(backbone, schedule, conditioning) -> Inversion:
    """A noise image, inverted without text, with a square foreground and no structure to keep."""
    torch.manual_seed(0)
    image, mask = torch.rand(3, 64, 64), torch.zeros(1, 64, 64)
    mask[:, 16:48, 16:48] = 1
    with torch.no_grad():
        trajectory = invert(backbone, schedule, backbone.encode(image[None]), conditioning, Guidance(0.0))
    return Inversion(image, mask, mask[:, ::4, ::4], trajectory, StructureGuidance())


@pytest.fixture(scope="session")
def toy_composite() -> Composite:
    """A smooth toy photo, wider than high, with an off-centre foreground that is darker than it was."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 72), indexing="ij")
    real = torch.stack([rows, columns, (rows + columns) / 2]) * 0.8 + 0.1
    mask = ((rows - 0.4) ** 2 + (columns - 0.6) ** 2 < 0.08).float()[None]
    return Composite("toy", "test", torch.where(mask > 0, real * 0.5, real), mask, real)


@pytest.fixture
def composite(toy_composite) -> Composite:
    """The toy photo, to be changed."""
    tensors = {name: getattr(toy_composite, name).clone() for name in ("image", "mask", "real")}
    return replace(toy_composite, **tensors)


@pytest.fixture(scope="session")
def toy_settings(pipeline_folder) -> tuple[str, ...]:
    """Settings of a run on the toy model under given words, without an evaluator."""
    words = ("describer=fixed", "describer.object=cat", "describer.foreground=dim", "describer.background=bright")
    return (*words, "evaluator=none", f"backbone.path={pipeline_folder}", "backbone.size=64")


@pytest.fixture(scope="session")
def toy_pidinet(tmp_path_factory) -> Path:
    """A random PiDiNet checkpoint of the published format."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pidinet") / "random.pth"
    state = {f"module.{name}": value for name, value in PiDiNetNetwork(8, 4).state_dict().items()}
    torch.save({"epoch": 0, "state_dict": state}, path)
    return path


@pytest.fixture(scope="session")
def start_command(tmp_path_factory):
    """Start ``diffharmon`` into a folder, a sweep with ``-m`` among the overrides, in a process group of its own."""
    elsewhere = tmp_path_factory.mktemp("wandb")

    def start(folder: Path, *overrides: str) -> subprocess.Popen:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            **{f"WANDB_{name}": str(elsewhere) for name in ("DATA_DIR", "CACHE_DIR", "CONFIG_DIR")},
        }
        place = f"hydra.{'sweep' if '-m' in overrides else 'run'}.dir={folder}"
        command = [sys.executable, "-m", "diffharmon.run", *overrides, place]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)

    return start


@pytest.fixture(scope="session")
def run_command(start_command):
    """Run ``diffharmon`` into a folder and wait for it."""

    def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess:
        with start_command(folder, *overrides) as process:
            output, error = process.communicate(timeout=900)
        return subprocess.CompletedProcess(process.args, process.returncode, output, error)

    return run


@pytest.fixture
def call_command(monkeypatch, capsys):
    """Run ``diffharmon`` into a folder in this process, which spares loading all libraries again."""

    def call(folder: Path, *overrides: str) -> subprocess.CompletedProcess:
        place = f"hydra.{'sweep' if '-m' in overrides else 'run'}.dir={folder}"
        monkeypatch.setattr(sys, "argv", ["diffharmon", *overrides, place])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        try:
            run.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
            logging.shutdown()
        return subprocess.CompletedProcess(sys.argv, code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def rows_of():
    """Read a run's rows by name, as a sorted list and without the time they took."""

    def read(folder: Path) -> list[dict]:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in results.read_rows(folder)]
        return sorted(rows, key=lambda row: row["name"])

    return read


@pytest.fixture(scope="session")
def jobs_of(rows_of):
    """Read the rows of all jobs of a sweep that have some, by job."""

    def read(folder: Path) -> dict[str, list[dict]]:
        return {path.name: rows_of(path) for path in sorted(folder.iterdir()) if results.read_rows(path)}

    return read
