"""Attention rules, the merging of parts, and the configuration's choices."""

import pytest
import torch

from diffharmon.config import CONFIG_FOLDER, build, composed
from diffharmon.errors import ConfigError
from diffharmon.protocols import StructurePreserver
from diffharmon.structure.attention import CrossAttention, SelfAttention
from diffharmon.structure.combine import combine
from diffharmon.structure.edges import EdgeLoss
from diffharmon.structure.sobel import Sobel
from diffharmon.types import AttentionRule, Composite, StructureGuidance

PARTS = sorted(path.stem for path in (CONFIG_FOLDER / "structure").glob("*.yaml"))


@pytest.fixture
def photo() -> Composite:
    mask = torch.zeros(1, 24, 32)
    mask[:, 4:20, 8:24] = 1
    return Composite("noise", "test", torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(0)), mask)


def test_rules_carry_their_options(photo):
    part = SelfAttention(start=0.5, end=0.75, places=["up"], depths=[0.5, 1.0], queries=64)
    assert part.guide(photo, (32, 32)).rules == (AttentionRule("self", "replace", ("up",), 0.5, 0.75, 64, (0.5, 1.0)),)
    (rule,) = CrossAttention().guide(photo, (32, 32)).rules
    assert rule == AttentionRule("cross", "replace")
    assert all(rule.active(step, 10) for step in range(10))


@pytest.mark.parametrize(
    "options",
    [
        {"start": 0.5, "end": 0.5},
        {"depths": [0.5, 0.2]},
    ],
)
@pytest.mark.parametrize("part", [CrossAttention, SelfAttention])
def test_rules_that_cannot_act_are_refused(part, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        part(**options)


def test_combine_merges_losses_and_rules(photo):
    parts = {
        "cross": CrossAttention(),
        "self": SelfAttention(end=0.5),
        "sobel": EdgeLoss(Sobel()),
    }
    guide = combine(parts, photo, (32, 32))
    assert list(guide.losses) == ["sobel"]
    assert [rule.kind for rule in guide.rules] == ["cross", "self"]
    image = torch.rand(1, 3, 32, 32)
    assert guide.losses["sobel"](image) == EdgeLoss(Sobel()).guide(photo, (32, 32)).losses["edges"](image)


def test_combine_of_nothing_is_an_empty_guide(photo):
    guide = combine({}, photo, (32, 32))
    assert (dict(guide.losses), guide.rules) == ({}, ())


def test_losses_are_named_after_their_parts(photo):
    class Two:
        def guide(self, composite, size):
            return StructureGuidance(losses={"a": torch.sum, "b": torch.mean})

    parts = {"first": EdgeLoss(Sobel()), "second": EdgeLoss(Sobel(), 2.0), "third": Two()}
    losses = combine(parts, photo, (32, 32)).losses
    assert list(losses) == ["first", "second", "third.a", "third.b"]
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(losses["second"](image), 2 * losses["first"](image))


@pytest.mark.parametrize("part", PARTS)
def test_every_part_builds_from_its_file(part, toy_pidinet, monkeypatch, photo):
    monkeypatch.setenv("PIDINET_WEIGHTS", str(toy_pidinet))
    built = build(composed([f"structure=[{part}]"]).structure)
    assert list(built) == [part]
    assert isinstance(built[part], StructurePreserver)
    guide = built[part].guide(photo, (32, 32))
    assert guide.losses or guide.rules
