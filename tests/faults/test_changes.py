"""What changes or goes wrong under a run: odd errors of one image, files edited between two starts, results removed."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffharmon import images, results
from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.dataset.mini import Mini
from diffharmon.errors import ModelError
from diffharmon.method.color_transfer import ColorTransfer
from diffharmon.results import panels

COMMON = ("method=reinhard", "metrics=[full]", "trainer=cpu")
MINI = ("dataset=mini", "dataset.limit=5", *COMMON)


def assert_one_line(done, message):
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("owner", "part", "stage"),
    [(Mini, "__getitem__", "read"), (ColorTransfer, "harmonize", "harmonize"), (panels, "strip", "write")],
)
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("odd"), TypeError("odd"), ValueError("odd"), RuntimeError("odd"), StopIteration("odd"),
     RecursionError("odd"), OSError("odd"), AssertionError("odd\nlines")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_one_image_raises_is_its_row(tmp_path, monkeypatch, call_command, owner, part, stage, error):
    working, calls = getattr(owner, part), []

    def fail_second(*arguments):
        calls.append(part)
        if len(calls) == 2:
            raise error
        return working(*arguments)

    monkeypatch.setattr(owner, part, fail_second)
    done = call_command(tmp_path / "run", "dataset=mini", "dataset.limit=3", *COMMON)
    assert_one_line(done, "1 of 3 images failed")
    rows = results.read_rows(tmp_path / "run")
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]
    assert rows[1]["stage"] == stage
    assert rows[1]["error"] == f"{type(error).__name__}: {' '.join(str(error).split())}"


def test_changed_words_and_weights_are_redone(tmp_path, pipeline_folder, composite, call_command):
    for name in ("a", "b"):
        images.write_image(tmp_path / "images" / f"{name}.png", composite.image)
        images.write_image(tmp_path / "masks" / f"{name}.png", composite.mask)
    model = copy_of(pipeline_folder, tmp_path)
    captions = tmp_path / "caption.txt"
    captions.write_text("cat dim,cat bright\ncat dim,cat bright\n")
    run = (
        *("dataset=folder", f"dataset.images={tmp_path / 'images'}", f"dataset.masks={tmp_path / 'masks'}"),
        *("describer=file", f"describer.path={captions}", f"backbone.path={model}", "backbone.size=64"),
        *("sampler.steps=2", "embedding=[]", "structure=[]", "evaluator=none", "metrics=[full]", "trainer=cpu"),
    )

    def start():
        done = call_command(tmp_path / "run", *run)
        assert done.returncode == 0, done.stderr
        return done.stdout, {row["name"]: row for row in results.read_rows(tmp_path / "run")}

    _, first = start()
    captions.write_text("cat dim,cat bright\ncat cold,cat warm\n")
    output, second = start()
    assert "1 done before, 1 redone (words changed)" in output
    assert second["a"] == first["a"]
    assert second["b"]["result_digest"] != first["b"]["result_digest"]
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    save_file({**state, "conv_out.bias": state["conv_out.bias"] + 0.5}, weights, metadata={"format": "pt"})
    output, third = start()
    assert "0 done before, 2 redone (weights changed)" in output
    assert all(third[name]["result_digest"] != second[name]["result_digest"] for name in "ab")
    assert "2 done before" in start()[0]


def test_rows_removed_while_a_run_is_under_way_are_named_and_done_again(tmp_path, monkeypatch, call_command, rows_of):
    assert call_command(tmp_path / "whole", *MINI).returncode == 0
    harmonize, begun = ColorTransfer.harmonize, []

    def remove_and_harmonize(self, composite, observe):
        begun.append(composite.name)
        if len(begun) == 4:
            (tmp_path / "run" / "rows-rank0.jsonl").rename(tmp_path / "elsewhere")
        return harmonize(self, composite, observe)

    with monkeypatch.context() as context:
        context.setattr(ColorTransfer, "harmonize", remove_and_harmonize)
        done = call_command(tmp_path / "run", *MINI)
    assert_one_line(done, "of 5 images left no row: ")
    assert begun[0] in done.stderr
    assert begun[1] in done.stderr
    done = call_command(tmp_path / "run", *MINI)
    assert done.returncode == 0, done.stderr
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "whole")
    assert all(
        (results.picture_folder(tmp_path / "run", row) / "harmonized.png").is_file()
        for row in rows_of(tmp_path / "run")
    )


@pytest.mark.slow
def test_one_image_left_is_done_by_two_processes(tmp_path, call_command, run_command, rows_of):
    assert call_command(tmp_path, *MINI).returncode == 0
    whole, rows = rows_of(tmp_path), tmp_path / "rows-rank0.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-1]))
    done = run_command(tmp_path, *MINI[:-1], "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    assert done.returncode == 0, done.stderr
    assert "4 done before" in done.stdout
    assert rows_of(tmp_path) == whole


def copy_of(model, place):
    import shutil

    return shutil.copytree(model, place / "model")


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def reshape(path):
    state = load_file(path)
    name = max(state, key=lambda name: state[name].ndim)
    save_file({**state, name: torch.zeros(3, 3)}, path, metadata={"format": "pt"})


@pytest.mark.parametrize("spoil", [cut, empty, reshape])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_damaged_weights_are_one_clear_error(tmp_path, pipeline_folder, part, spoil):
    model = copy_of(pipeline_folder, tmp_path)
    spoil(next((model / part).glob("*.safetensors")))
    with pytest.raises(ModelError, match="cannot load the diffusion model") as raised:
        StableDiffusion(str(model), size=64)
    assert str(model) in str(raised.value)
    assert "safetensors" in str(raised.value).lower() or "shape" in str(raised.value) or "size" in str(raised.value)


def test_truncated_weights_end_a_run_before_its_first_image(tmp_path, pipeline_folder, call_command):
    model = copy_of(pipeline_folder, tmp_path)
    cut(next((model / "unet").glob("*.safetensors")))
    run = ("dataset=mini", "dataset.limit=2", "describer=file", "describer.path=${asset:mini/triples.jsonl}")
    done = call_command(tmp_path / "run", *run, f"backbone.path={model}", "backbone.size=64", "trainer=cpu")
    assert done.returncode == 2
    assert "cannot load the diffusion model" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert results.read_rows(tmp_path / "run") == []
    assert "config" in json.loads((tmp_path / "run" / "run.json").read_text())
