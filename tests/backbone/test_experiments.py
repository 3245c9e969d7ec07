"""The paper's experiments run end to end, through the command, on toys of families other than Stable Diffusion."""

import json

import pytest
import torch
from toys import write_flux, write_sd3, write_sdxl

from diffharmon import images, results
from diffharmon.config import build, composed
from diffharmon.errors import ConfigError

EXPERIMENTS = ("paper", "direct_inversion", "no_edges")
TOYS = {
    "sdxl": (write_sdxl, "backbone=sdxl", "backbone.size=64", "backbone.recommended.attention_divisor=8"),
    "sd3": (write_sd3, "backbone=sd3", "backbone.size=64", "backbone.recommended.attention_divisor=8"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: toy[0](tmp_path_factory.mktemp(name)) for name, toy in TOYS.items()}


@pytest.fixture
def harmonize(tmp_path, composite, call_command, toy_pidinet, monkeypatch):
    """Run the command on the toy composite with two steps; gives the row, the record and the result."""
    monkeypatch.setenv("PIDINET_WEIGHTS", str(toy_pidinet))
    for name in ("image", "mask"):
        images.write_image(tmp_path / f"{name}.png", getattr(composite, name))
    words = ("describer=fixed", "describer.object=cat", "describer.foreground=dim cold", "describer.background=bright")

    def run(*overrides):
        photo = ("dataset=single", *(f"dataset.{name}={tmp_path / name}.png" for name in ("image", "mask")))
        quick = ("sampler.steps=2", "method.policy.iterations=1", "trainer=cpu", "method.descriptions=1")
        quick += ("method.policy.include_composite=false", "metrics=[]", "output=minimal")
        done = call_command(tmp_path / "run", *photo, *words, *quick, *overrides)
        assert done.returncode == 0, done.stderr
        (row,) = results.read_rows(tmp_path / "run")
        assert row["status"] == "ok", row
        record = json.loads((tmp_path / "run" / "images" / "image" / "record.json").read_text())
        return row, record, images.read_image(tmp_path / "run" / "images" / "image" / "harmonized.png").image

    return run


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("name", TOYS)
def test_experiments_run_end_to_end(name, experiment, folders, harmonize, composite):
    _, *choice = TOYS[name]
    row, record, result = harmonize(f"experiment={experiment}", *choice, f"backbone.path={folders[name]}")
    background = composite.mask[0] == 0
    given = (composite.image * 255).round() / 255
    torch.testing.assert_close(result[:, background], given[:, background], atol=1e-6, rtol=0)
    assert (result - given)[:, ~background].abs().max() > 0.01
    stages = record["costs"]
    assert stages["text"]["network_calls"] == 2 * 2  # two updates at each of two steps
    assert ("unconditional" in stages) == (experiment != "direct_inversion")
    if experiment in ("paper", "no_edges"):
        assert stages["unconditional"]["network_calls"] > 2 * 2
    assert row["network_calls"] == sum(stage["network_calls"] for stage in stages.values())


def test_direct_inversion_runs_on_flux_at_guidance_1(harmonize, tmp_path):
    choice = ("backbone=flux", "backbone.size=64", "backbone.recommended.attention_divisor=8")
    unguided = ("method.guidance=1", "method.inversion_guidance=1")
    folder = write_flux(tmp_path / "flux")
    _, record, _ = harmonize("experiment=direct_inversion", *choice, *unguided, f"backbone.path={folder}")
    assert record["config"]["sampler"]["_target_"] == "diffharmon.sampler.flow.FlowEuler"
    assert record["costs"]["edit"]["network_calls"] == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("experiment=no_edges", "method.guidance=1"),
            r"embedding\.unconditional: NullText needs a backbone",
        ),
        (("experiment=negative_prompt", "method.guidance=1"), r"NegativePrompt needs a backbone that takes a negative"),
        (("experiment=direct_inversion",), r"method\.guidance: guidance other than 1 needs"),
        (("sampler=ddim",), r"sampler: DDIM needs a backbone that mixes noise in as DDPM does"),
        (("backbone=sd2_base", "sampler=flow_euler"), r"sampler: FlowEuler needs a backbone that is a rectified flow"),
    ],
)
def test_what_is_not_defined_is_refused_before_loading(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(composed(["backbone=flux", "method.inversion_guidance=1", *overrides]).method)
