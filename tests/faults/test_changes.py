"""What changes or goes wrong under a run: odd errors of one image, files edited between two starts, results removed."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffharmon import images, results
from diffharmon.backbone.stable_diffusion import StableDiffusion
from diffharmon.config import composed
from diffharmon.dataset.mini import Mini
from diffharmon.errors import ModelError
from diffharmon.method.color_transfer import ColorTransfer
from diffharmon.results import panels
from diffharmon.run import execute

COMMON = ("method=reinhard", "metrics=[ihd256]", "trainer=cpu")
MINI = ("dataset=mini", "dataset.limit=5", *COMMON)


def assert_one_line(done, message):
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


ERRORS = (
    *(kind("odd") for kind in (ZeroDivisionError, TypeError, ValueError, RuntimeError, StopIteration)),
    *(RecursionError("odd"), OSError("odd"), AssertionError("odd\nlines")),
)


@pytest.mark.parametrize(
    ("owner", "part", "stage"),
    [(Mini, "__getitem__", "read"), (ColorTransfer, "harmonize", "harmonize"), (panels, "strip", "write")],
)
def test_whatever_one_image_raises_is_its_row(tmp_path, monkeypatch, call_command, owner, part, stage):
    """One run has an image for each error, between two that are well."""
    working, calls = getattr(owner, part), []

    def fail_but_the_first_and_last(*arguments):
        calls.append(part)
        if 2 <= len(calls) <= 1 + len(ERRORS):
            raise ERRORS[len(calls) - 2]
        return working(*arguments)

    monkeypatch.setattr(owner, part, fail_but_the_first_and_last)
    done = call_command(tmp_path / "run", "dataset=mini", f"dataset.limit={len(ERRORS) + 2}", *COMMON)
    assert_one_line(done, "8 of 10 images failed")
    rows = results.read_rows(tmp_path / "run")
    assert [row["status"] for row in rows] == ["ok", *["error"] * len(ERRORS), "ok"]
    assert {row["stage"] for row in rows[1:-1]} == {stage}
    expected = [f"{type(error).__name__}: {' '.join(str(error).split())}" for error in ERRORS]
    assert [row["error"] for row in rows[1:-1]] == expected


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


@pytest.fixture(scope="module")
def whole_rows(tmp_path_factory, rows_of):
    """What is left by a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    execute(composed(MINI), folder)
    return rows_of(folder)


@pytest.mark.parametrize(
    ("removed", "lost"),
    [
        pytest.param("rows-rank0.jsonl", "of 5 images left no row: ", marks=pytest.mark.slow),
        ("images", "of 5 images left no picture: "),
        (".", "of 5 images left no row: "),
    ],
    ids=["rows", "images", "all"],
)
def test_results_removed_while_a_run_is_under_way_are_named_and_done_again(
    tmp_path, monkeypatch, call_command, rows_of, whole_rows, removed, lost
):
    harmonize, begun = ColorTransfer.harmonize, []

    def remove_and_harmonize(self, composite, observe):
        begun.append(composite.name)
        if len(begun) == 4:
            (tmp_path / "run" / removed).rename(tmp_path / "elsewhere")
        return harmonize(self, composite, observe)

    with monkeypatch.context() as context:
        context.setattr(ColorTransfer, "harmonize", remove_and_harmonize)
        done = call_command(tmp_path / "run", *MINI)
    assert_one_line(done, lost)
    assert begun[0] in done.stderr
    assert begun[1] in done.stderr
    done = call_command(tmp_path / "run", *MINI)
    assert done.returncode == 0, done.stderr
    assert rows_of(tmp_path / "run") == whole_rows
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
