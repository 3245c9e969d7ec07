"""The four quadrants of joint attention, against one softmax written out."""

import pytest
import torch

from diffharmon.attention.joint import JointRuleProcessor
from diffharmon.attention.processor import MapStore
from diffharmon.types import AttentionRule, Site

TOKENS, CELLS = 3, 4
CROSS, SELF = AttentionRule("cross", "replace"), AttentionRule("self", "replace")
RECORD = AttentionRule("cross", "record")


@pytest.fixture
def projected():
    """Queries, keys and values of image and text: two rows, two heads."""
    torch.manual_seed(0)
    image, text = ([torch.randn(2, 2, n, 8) for _ in range(3)] for n in (CELLS, TOKENS))
    return tuple(image), tuple(text)


def attend(projected, rules, sources=(0, 0)):
    store = MapStore(steps=1, sources=sources)
    image, text = JointRuleProcessor(Site("a", "joint", "", 0.0), rules, store).attend_jointly(*projected)
    return image, text, store.recorded.get("a")


def by_hand(projected, queries, keys):
    """Attend with the image's queries and keys of these rows; returns image's, text's and the whole map."""
    (query, key, value), (text_query, text_key, text_value) = projected
    asked = torch.cat([text_query, query[list(queries)]], dim=2)
    answered = torch.cat([text_key, key[list(keys)]], dim=2)
    maps = (asked @ answered.transpose(-1, -2) / 8**0.5).softmax(dim=-1)
    gathered = maps @ torch.cat([text_value, value], dim=2)
    return gathered[:, :, TOKENS:], gathered[:, :, :TOKENS], maps


@pytest.mark.parametrize(
    ("rules", "queries", "keys"),
    [((), (0, 1), (0, 1)), ((CROSS,), (0, 0), (0, 1)), ((SELF,), (0, 0), (0, 0)), ((CROSS, SELF), (0, 0), (0, 0))],
)
def test_rules_take_the_images_part_of_the_source_and_leave_the_texts(projected, rules, queries, keys):
    image, text, _ = attend(projected, rules)
    expected = by_hand(projected, queries, keys)
    torch.testing.assert_close(image, expected[0])
    torch.testing.assert_close(text, expected[1])


def test_recorded_maps_are_the_quadrant_from_image_to_text(projected):
    image, _, maps = attend(projected, [RECORD, SELF])
    expected = by_hand(projected, (0, 0), (0, 0))
    torch.testing.assert_close(maps, expected[2][:, :, TOKENS:, :TOKENS])
    torch.testing.assert_close(image, expected[0])
