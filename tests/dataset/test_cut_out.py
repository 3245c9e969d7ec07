"""A cut-out and a background by command: the same composite as by call."""

import numpy as np
import pytest
import torch
from PIL import Image

from diffharmon.api.inputs import compose_cut_out
from diffharmon.config import build, composed
from diffharmon.dataset.cut_out import CutOut
from diffharmon.errors import ConfigError, InputError


@pytest.fixture
def files(tmp_path):
    drawn = np.random.default_rng(0)
    front, behind = tmp_path / "front.png", tmp_path / "street.tif"
    Image.fromarray(drawn.integers(0, 256, (12, 16, 4), np.uint8)).save(front)
    Image.fromarray(drawn.integers(0, 256, (40, 50, 3), np.uint8)).save(behind)
    return front, behind


def settings(files):
    return ["dataset=cut_out", f"dataset.foreground={files[0]}", f"dataset.background={files[1]}"]


def test_the_command_composes_as_the_call_does(files):
    dataset = build(composed([*settings(files), "dataset.position=[40,-3]"]).dataset)
    _, wanted = compose_cut_out(*files, (40, -3))
    found = dataset[0]
    assert (dataset.name(0), len(dataset), found.name) == ("street", 1, "street")
    assert torch.equal(found.image, wanted.image)
    assert torch.equal(found.mask, wanted.mask)
    assert found.mask[0, :9, 40:].any()
    assert not found.mask[0, 9:].any()
    assert not found.mask[0, :, :40].any()
    assert set(dataset.files(0)) == {"photo", "mask"}


def test_what_does_not_fit_is_refused(files):
    with pytest.raises(InputError, match=r"dataset.position: expected column and row"):
        CutOut(*map(str, files), position=[3])
    with pytest.raises(InputError, match="alpha channel"):
        CutOut(str(files[1]), str(files[1]))[0]
    with pytest.raises(InputError, match=r"dataset.background"):
        CutOut(str(files[0]), "missing.png")
    with pytest.raises(ConfigError, match=r"dataset.max_megapixels"):
        composed([*settings(files), "dataset.max_megapixels=0"])
