"""The ``diffharmon-describe`` command."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from PIL import Image

from diffharmon.config import build, prepare_overrides
from diffharmon.errors import ConfigError, DescriberError, InputError
from diffharmon.run.describe import describe_all, execute, main

sys.path.insert(0, str(Path(__file__).parent / "describer"))

from gemini_server import GOOD, GeminiServer, error, fingerprint, says, text

KEY = "AIza-planted/key+0123456789="
SECOND = "cat & (foreground) dull & (background) sunny, bright"


@pytest.fixture
def photos(tmp_path):
    """Make a folder of different composites."""

    def make(count):
        for kind in ("composites", "masks"):
            (tmp_path / kind).mkdir()
        mask = np.zeros((24, 32), np.uint8)
        mask[6:18, 8:24] = 255
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "composites" / f"{number:03}.png")
            Image.fromarray(mask).save(tmp_path / "masks" / f"{number:03}.png")
        return ["dataset=folder", f"dataset.images={tmp_path}/composites", f"dataset.masks={tmp_path}/masks"]

    return make


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Compose the command's configuration for a service."""
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)

    def make(server, *overrides, describer="google_genai"):
        given = [
            f"describer={describer}",
            f"describer.endpoint={server.url}",
            f"describer.cache={tmp_path}/cache",
            "describer.first_delay=0.01",
            "describer.longest_delay=0.5",
            "describer.timeout=5.0",
            "describer.width=32",
            *overrides,
        ]
        with initialize_config_module("diffharmon.conf", version_base="1.3"):
            return compose("describe", prepare_overrides(given))

    return make


def read(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("describer", ["gemini", pytest.param("google_genai", marks=pytest.mark.slow)])
def test_a_hundred_images_with_a_fifth_of_faults(photos, settings, tmp_path, describer):
    pytest.importorskip("google.genai" if describer == "google_genai" else "google.generativeai")
    faults = [
        (429, error(429, "RESOURCE_EXHAUSTED", "quota"), {"Retry-After": "0.05"}),
        (500, error(500, "INTERNAL", f"oops {KEY}")),
        (503, error(503, "UNAVAILABLE", "overloaded")),
        (502, "<html>bad gateway</html>"),
        "drop",
        (200, '{"candidates": ['),
    ]
    lock, count = threading.Lock(), iter(range(10**6))

    def respond(request):
        with lock:
            number = next(count)
        return faults[number // 5 % len(faults)] if number % 5 == 0 else says(GOOD)

    with GeminiServer(respond=respond) as server:
        config = settings(server, *photos(100), "descriptions=1", "workers=4", describer=describer)
        assert sum(execute(config, tmp_path / "run").values()) == 100
        asked = len(server.requests)
        assert asked >= 120
        assert server.most_busy <= 4
        assert execute(config, tmp_path / "again") == execute(config, tmp_path / "third")
    assert len(server.requests) == asked, "a second call asks nothing"
    assert set(server.described.values()) == {1}, "every image is described exactly once"
    assert len(server.described) == 100
    rows = read(tmp_path / "run" / "descriptions.jsonl")
    assert [row["name"] for row in rows] == [f"{number:03}" for number in range(100)]
    assert read(tmp_path / "run" / "errors.jsonl") == []
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert not leaks


def test_two_descriptions_then_a_sweep_without_network(photos, settings, tmp_path):
    def respond(request):
        return says(SECOND if "tried before" in text(request) else GOOD)

    with GeminiServer(respond=respond) as server:
        config = settings(server, *photos(6))
        execute(config, tmp_path / "run")
    assert len(server.requests) == 12
    dataset, describer = build(config.dataset), build(config.describer)
    offline = list(describe_all(dataset, describer, 2, 1))
    assert all(len(described.descriptions) == 2 and not described.error for described in offline)
    with initialize_config_module("diffharmon.conf", version_base="1.3"):
        given = ["describer=file", f"describer.path={tmp_path}/run/descriptions.jsonl"]
        file = build(compose("describe", given).describer)
    for described in offline:
        composite = dataset[int(described.name)]
        assert file.describe(composite).background == described.descriptions[0].background


def test_an_interrupted_prefetch_goes_on(photos, settings, tmp_path):
    seen = []

    def respond(request):
        seen.append(fingerprint(request))
        return (403, error(403, "PERMISSION_DENIED", "spent")) if len(seen) > 7 else says(GOOD)

    with GeminiServer(respond=respond) as server:
        config = settings(server, *photos(10), "descriptions=1", "workers=2")
        with pytest.raises(DescriberError, match=r"3 of 10 images have no description; the first.*does not accept"):
            execute(config, tmp_path / "run")
        assert len(read(tmp_path / "run" / "descriptions.jsonl")) == 7
        assert len(read(tmp_path / "run" / "errors.jsonl")) == 3
        server.respond = lambda request: says(GOOD)
        execute(config, tmp_path / "again")
    assert set(server.described.values()) == {1}
    assert len(server.requests) == 13


def test_faulty_images_and_the_fallback(photos, settings, tmp_path):
    fallback = "{_target_: diffharmon.describer.fixed.Fixed, object: thing, foreground: [dim], background: [bright]}"

    def respond(request):
        return says("", "SAFETY")

    overrides = photos(3)
    (tmp_path / "composites" / "001.png").write_bytes(b"no image")
    with GeminiServer(respond=respond) as server:
        config = settings(server, *overrides, f"describer.fallback={fallback}")
        with pytest.raises(DescriberError, match=r"1 of 3 images have no description; the first, 001"):
            execute(config, tmp_path / "run")
    rows = read(tmp_path / "run" / "descriptions.jsonl")
    assert {row["describer"] for row in rows} == {"fixed (fallback for google_genai (gemini-2.5-flash-lite))"}
    assert not list((tmp_path / "cache").glob("*.json")), "what the fallback says is not stored as the model's"


def test_the_fallback_can_be_another_choice_of_the_group(settings):
    with GeminiServer() as server:
        config = settings(
            server,
            "+describer@describer.fallback=fixed",
            "describer.fallback.object=cat",
            "describer.fallback.foreground=dim",
        )
    assert config.describer.fallback._target_.endswith("Fixed")
    with pytest.raises(InputError, match="no background"):
        build(config.describer)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("workers=0", "workers"),
        ("descriptions=many", "descriptions"),
        ("++describer.temprature=1", "describer.temprature"),
        ("describer.answers=few", "describer.answers"),
    ],
)
def test_wrong_settings_are_named(settings, tmp_path, override, key):
    with GeminiServer() as server, pytest.raises(ConfigError, match=key):
        execute(settings(server, override), tmp_path)


def test_the_command(photos, tmp_path, monkeypatch, capsys):
    """Run folder, one-line errors, no key anywhere; first in a process of its own, then in this one."""
    overrides = photos(3)
    environment = {**os.environ, "GOOGLE_API_KEY": KEY, "DIFFHARMON_CACHE": str(tmp_path / "cache")}
    with GeminiServer(says("", "SAFETY"), (400, error(400, "X", f"API key expired {KEY}"))) as server:
        command = [sys.executable, "-m", "diffharmon.run.describe", *overrides, "describer=google_genai", "workers=1"]
        command += [
            f"describer.endpoint={server.url}",
            "descriptions=1",
            f"hydra.run.dir={tmp_path}/run",
            "hydra.verbose=true",
        ]
        first = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        for name in ("GOOGLE_API_KEY", "DIFFHARMON_CACHE"):
            monkeypatch.setenv(name, environment[name])
        monkeypatch.setattr(sys, "argv", ["diffharmon-describe", *command[3:-1]])
        main()
    assert first.returncode == 2
    assert first.stderr.strip().splitlines()[-1].startswith("error: 2 of 3 images have no description; the first, 000:")
    assert "Traceback" not in first.stderr
    assert len(read(tmp_path / "run" / "descriptions.jsonl")) == 3
    assert len(list((tmp_path / "cache" / "descriptions").glob("*.json"))) == 3
    second = capsys.readouterr()
    assert KEY not in first.stdout + first.stderr + second.out + second.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
