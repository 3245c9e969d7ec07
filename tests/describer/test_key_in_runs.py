"""A whole run with a planted key, logged to W&B offline: no file anywhere holds the key."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gemini_server import GeminiServer, error
from PIL import Image

ROOT = Path(__file__).parents[2]
KEY = "AIza-planted/key+0123456789="
WANTED = (ROOT / "conf" / "logger" / "wandb.yaml", ROOT / "diffharmon" / "assets" / "tiny" / "model_index.json")


@pytest.mark.slow
@pytest.mark.skipif(not all(path.is_file() for path in WANTED), reason="needs logger=[wandb] and the embedded backbone")
@pytest.mark.parametrize(
    "replies", [[], [(400, error(400, "INVALID_ARGUMENT", f"API key expired: {KEY}"))]], ids=["success", "fault"]
)
def test_no_file_of_a_run_holds_the_key(tmp_path, replies):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    environment = {
        **os.environ,
        "GOOGLE_API_KEY": KEY,
        "DIFFHARMON_CACHE": str(tmp_path / "cache"),
        "WANDB_MODE": "offline",
        **{f"WANDB_{name}": str(tmp_path / "wandb") for name in ("DIR", "DATA_DIR", "CACHE_DIR", "CONFIG_DIR")},
    }
    with GeminiServer(*replies) as server:
        overrides = [
            "dataset=single",
            f"dataset.image={tmp_path}/photo.png",
            f"dataset.mask={tmp_path}/mask.png",
            "describer=google_genai",
            f"describer.endpoint={server.url}",
            "evaluator=none",
            "logger=[wandb]",
            "trainer=cpu",
            "hydra.verbose=true",
            f"hydra.run.dir={tmp_path}/run",
        ]
        command = [sys.executable, "-m", "diffharmon.run", *overrides]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == (2 if replies else 0), done.stderr
    assert server.requests[0]["key"] == KEY, "the key was in use"
    assert KEY not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} & {"run"}
    assert [path for path in files if path.suffix == ".wandb"]
    assert bool([path for path in files if path.parent.name == "descriptions"]) is not bool(replies)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
