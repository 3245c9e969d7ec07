import json
import subprocess
import sys

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from diffharmon import images, results, run
from diffharmon.config.choices import quoted
from diffharmon.errors import InputError
from diffharmon.method.policy import LEFT_ALONE
from diffharmon.results.provenance.configuration import config_hash
from diffharmon.results.summary import describe_row


@pytest.fixture
def photo(tmp_path, composite):
    """The toy composite as files, with its ground truth."""
    for name in ("image", "mask", "real"):
        images.write_image(tmp_path / f"{name}.png", getattr(composite, name))
    return tmp_path


@pytest.fixture
def command(toy_settings, photo, call_command):
    """Run the command on the toy model in this process; gives exit code, standard error and run folder."""

    def call(*overrides, folder="run", settings=()):
        settings = settings or [
            "dataset=single",
            f"dataset.image={photo / 'image.png'}",
            f"dataset.mask={photo / 'mask.png'}",
            f"dataset.real={photo / 'real.png'}",
            *toy_settings,
            "describer.foreground=dim cold",
            "sampler.steps=3",
            "trainer=cpu",
        ]
        done = call_command(photo / folder, *settings, *overrides)
        return done.returncode, done.stderr, photo / folder

    return call


def test_one_image_leaves_everything_in_the_run_folder(command, composite):
    code, _, folder = command("method.policy.iterations=2")
    assert code == 0
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "run.json",
        "rows-rank0.jsonl",
        "images/image/harmonized.png",
        "images/image/attempt_00.png",
        "images/image/attempt_01.png",
        "images/image/comparison.png",
        "images/image/attention.png",
        "images/image/record.json",
    } <= made
    harmonized = images.read_image(folder / "images" / "image" / "harmonized.png").image
    assert harmonized.shape == composite.image.shape
    record = json.loads((folder / "images" / "image" / "record.json").read_text())
    assert record["config"]["sampler"]["steps"] == 3
    assert record["config"]["backbone"]["path"]
    assert record["versions"]["torch"] == torch.__version__
    assert record["seed"] == 0
    assert record["reason"] == "all 2 iterations done"
    assert record["costs"]["inversion"]["network_calls"] == 6
    assert [attempt["iteration"] for attempt in record["attempts"]] == [-1, 0, 1]
    (row,) = results.read_rows(folder)
    assert row["status"] == "ok"
    assert row["composite_fpsnr"] > 0
    assert row["network_calls"] == 2 * (3 + 3) + 1


def test_a_minimal_run_leaves_the_same_result_without_pictures_for_people(command):
    command("method.policy.iterations=2", folder="full")
    code, _, folder = command("method.policy.iterations=2", "output=minimal", folder="minimal")
    assert code == 0
    written = {path.name for path in (folder / "images" / "image").iterdir()}
    assert written == {"harmonized.png", "attempt_00.png", "attempt_01.png", "record.json"}
    first, second = (results.read_rows(folder.parent / name)[0] for name in ("full", "minimal"))
    assert first["result_digest"] == second["result_digest"]
    assert first["config_hash"] == second["config_hash"], "a run may go on with or without them"
    assert second["network_calls"] == first["network_calls"] - 1, "no word's attention is looked at"


def test_the_same_command_gives_the_same_bytes(command):
    first = command(folder="first")[2] / "images" / "image" / "harmonized.png"
    second = command(folder="second")[2] / "images" / "image" / "harmonized.png"
    assert first.read_bytes() == second.read_bytes()


def test_the_seed_of_the_command_line_seeds_the_method(command):
    kind = "method._target_=diffharmon.reference.diffusion.ReferenceDiffusion"
    sampled = (kind, "+method.sample_posterior=true", "seed=1")
    pictures = [
        (command(*sampled, *more, folder=folder)[2] / "images" / "image" / "harmonized.png").read_bytes()
        for folder, more in {"first": (), "again": (), "other": ("seed=2",)}.items()
    ]
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_a_rerun_does_only_what_is_missing_and_never_mixes_configurations(command):
    _, _, folder = command()
    before = (folder / "images" / "image" / "harmonized.png").stat().st_mtime_ns
    assert command()[0] == 0
    assert (folder / "images" / "image" / "harmonized.png").stat().st_mtime_ns == before
    assert len(results.read_rows(folder)) == 1
    code, error, _ = command("sampler.steps=4")
    assert code == 2
    assert "another configuration" in error
    assert "sampler.steps: 3 -> 4" in error


def test_parts_are_chosen_and_left_out_on_the_command_line(command):
    parts = ("embedding=[text_refine,negative_prompt]", "~embedding.text")
    code, error, folder = command(*parts, "sampler.direct_inversion=false", "logger=[csv]")
    assert (code, error.count("Traceback")) == (0, 0)
    record = json.loads((folder / "run.json").read_text())
    config = record["config"]
    assert record["choices"]["method"] == "diffusion"
    assert record["choices"]["embedding"] == "[text_refine,negative_prompt] ~embedding.text"
    assert record["choices"]["structure"] == "[cross_attention,self_attention]"
    assert set(config["embedding"]) == {"unconditional"}
    assert not any(name.startswith("hydra/") for name in record["choices"])
    assert config["embedding"]["unconditional"]["_target_"].endswith("NegativePrompt")
    assert set(config["structure"]) == {"cross_attention", "self_attention"}
    assert len((folder / "results.csv").read_text().splitlines()) == 2


BAD_FILES = {
    "missing": "does not exist",
    "folder": "is a folder",
    "text": "cannot be read as an image",
    "truncated": "cannot be read as an image",
    "pixel": "expected at least",
}


def spoil(path, how):
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "text":
        path.write_text("not an image")
    elif how == "pixel":
        Image.new("RGB", (1, 1)).save(path)
    elif how == "truncated":
        Image.effect_noise((200, 200), 50).convert("RGB").save(path)
        path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize("file", ["image.png", "mask.png"])
@pytest.mark.parametrize("how", BAD_FILES)
def test_a_bad_file_is_one_clear_line_before_a_model_loads(command, photo, file, how):
    spoil(photo / file, how)
    code, error, _ = command("backbone.path=/nowhere/at/all")
    assert code == 2
    assert BAD_FILES[how] in error
    assert file in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("mask", "message"), [("empty", "empty"), ("full", "whole image"), ("small", "expected 72 x 48")]
)
def test_a_bad_mask_is_one_clear_line(command, photo, mask, message):
    size = (20, 20) if mask == "small" else (72, 48)
    picture = Image.new("L", size, 255 if mask == "full" else 0)
    if mask == "small":
        picture.paste(255, (5, 5, 9, 9))
    picture.save(photo / "mask.png")
    code, error, _ = command()
    assert code == 2
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["describer.background=''"], "describer"),
        (["backbone.stepz=3"], "stepz"),
        (["sampler.steps=many"], "sampler.steps"),
        (["backbone=huge"], "huge"),
        (["backbone.path=/nowhere/at/all"], "backbone=tiny"),
        (["trainer.accelerator=abacus"], "abacus"),
        (["backbone.size=60"], "multiple of"),
    ],
)
def test_what_cannot_work_is_said_without_a_traceback(command, overrides, message):
    code, error, _ = command(*overrides)
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_the_full_error_is_there_for_who_asks(photo, monkeypatch):
    (photo / "image.png").unlink()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    arguments = ["dataset=single", f"dataset.image={photo}/image.png", f"dataset.mask={photo}/mask.png"]
    words = ["describer=fixed", "describer.object=a", "describer.foreground=b", "describer.background=c"]
    monkeypatch.setattr(sys, "argv", ["diffharmon", *arguments, *words, f"hydra.run.dir={photo}/run"])
    with pytest.raises(InputError, match=r"image\.png"):  # Python then prints all calls that led to it.
        run.main()


def test_one_bad_image_of_many_becomes_a_row_and_the_others_finish(command, photo, composite, toy_settings):
    for kind in ("images", "masks"):
        for name in ("a", "b", "c", "faint"):
            source = composite.image if kind == "images" else composite.mask
            images.write_image(photo / kind / f"{name}.png", source)
    (photo / "images" / "b.png").write_text("not an image")
    # Foreground for the method, from 100 of 255, but none for the metrics, from 127.
    soft = torch.linspace(0.41, 0.45, composite.mask.shape[-1])
    images.write_image(photo / "masks" / "faint.png", soft * composite.mask)
    code, error, folder = command(
        settings=[
            "dataset=folder",
            f"dataset.images={photo / 'images'}",
            f"dataset.masks={photo / 'masks'}",
            f"dataset.reals={photo / 'images'}",
            *toy_settings,
            "sampler.steps=2",
            "trainer=cpu",
        ]
    )
    assert code == 2
    assert "2 of 4 images failed" in error
    rows = {row["name"]: row for row in results.read_rows(folder)}
    assert {name: row["status"] for name, row in rows.items()} == {"a": "ok", "b": "error", "c": "ok", "faint": "error"}
    assert "b.png" in rows["b"]["error"]
    assert "cannot be measured: the mask is empty" in rows["faint"]["error"]
    assert all((folder / "images" / name / "harmonized.png").is_file() for name in ("a", "c", "faint"))


def test_rows_survive_a_line_cut_short(tmp_path):
    results.append_row(tmp_path / "rows-rank0.jsonl", {"name": "a", "config": "x", "status": "ok"})
    with (tmp_path / "rows-rank0.jsonl").open("a") as file:
        file.write('{"name": "b", "conf')
    results.append_row(tmp_path / "rows-rank0.jsonl", {"name": "c", "config": "x", "status": "ok"})
    assert [row["name"] for row in results.read_rows(tmp_path)] == ["a", "c"]


def test_the_configuration_hash_ignores_what_changes_no_result():
    config = {"seed": 1, "backbone": {"steps": 3}, "name": "a", "trainer": {"devices": 1}, "dataset": {"limit": 3}}
    other = {**config, "name": "b", "trainer": {"devices": 2}, "dataset": {"limit": 9}}
    assert config_hash(config) == config_hash(other)
    assert config_hash(config) != config_hash({**config, "seed": 2})


def test_a_composite_left_alone_is_said_to_be():
    row = {"name": "a", "score": 0.7, "seconds": 0.3, "network_calls": 0, "reason": f"{LEFT_ALONE} 0.32"}
    assert "left alone as harmonious (evaluator=none" in describe_row(row, ())
    assert "left alone" not in describe_row({**row, "reason": "all 1 iterations done"}, ())


ODD_VALUES = {
    "dataset.image=photo (1).png": "\"dataset.image='photo (1).png'\"",
    "dataset.image=it's (1).png": "it\\\\'s (1).png",
    "dataset.image={x": "\"dataset.image='{x'\"",
    "dataset.image=a,b.png": "\"dataset.image='a,b.png'\"",
    "(1).png": "expected key=value",
}


@pytest.mark.parametrize("override", ODD_VALUES)
def test_a_value_that_hydra_cannot_read_is_shown_in_quotes(tmp_path, call_command, override):
    done = call_command(tmp_path / "run", "dataset=single", override)
    assert done.returncode == 2
    assert override in done.stderr
    assert ODD_VALUES[override] in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("value", ["photo (1).png", "it's.png", "it\\'s {1}.png", "a,b $HOME.png", "back\\"])
def test_the_quoted_form_gives_the_value_back(value):
    typed = ["sh", "-c", f"printf %s {quoted('dataset.image', value)}"]
    override = subprocess.run(typed, check=True, capture_output=True, text=True).stdout
    assert OverridesParser.create().parse_override(override).value() == value
