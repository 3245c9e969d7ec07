"""CLIP score and CLIP direction, on the embedded CLIP and against plain transformers."""

from dataclasses import replace

import pytest
import skimage
import torch
from torch.nn.functional import cosine_similarity, interpolate
from transformers import CLIPModel, CLIPProcessor

from diffharmon.clip_model import EMBEDDED
from diffharmon.condition import grades
from diffharmon.errors import ConfigError, ModelError
from diffharmon.images import to_uint8
from diffharmon.metrics import MetricSet
from diffharmon.metrics.clip import ClipScores
from diffharmon.protocols import Sample
from diffharmon.types import Composite, Description

WORDS = Description("object", ("shadowed",), ("bright",))


@pytest.fixture(scope="module")
def composite():
    photo = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1).float() / 255
    photo = interpolate(photo[None], (120, 180), mode="area")[0]
    mask = torch.zeros(1, 120, 180)
    mask[:, 30:90, 50:130] = 1
    dark = grades.sample(("shadowed",), torch.Generator().manual_seed(0))(photo)
    return Composite("cat", "test", dark * mask + photo * (1 - mask), mask, photo)


def by_hand(images, texts):
    model, processor = CLIPModel.from_pretrained(EMBEDDED).eval(), CLIPProcessor.from_pretrained(EMBEDDED)
    pixels = processor.image_processor(images=[to_uint8(i).numpy() for i in images], return_tensors="pt")
    with torch.no_grad():
        return (
            model.get_image_features(**pixels).pooler_output,
            model.get_text_features(**processor.tokenizer(texts, padding=True, return_tensors="pt")).pooler_output,
        )


def test_scores_are_those_of_plain_cosines(composite):
    scores = MetricSet({"clip": ClipScores(margin=None, context=False)}).measure(
        Sample(composite, composite.real, WORDS)
    )
    images, texts = by_hand([composite.image, composite.real], ["object bright", "object shadowed"])
    expected = 100 * cosine_similarity(images, texts[:1]).clamp_min(0)
    assert scores["composite_clip_score"] == pytest.approx(expected[0].item(), abs=1e-3)
    assert scores["clip_score"] == pytest.approx(expected[1].item(), abs=1e-3)
    units = [values / values.norm(dim=-1, keepdim=True) for values in (images, texts)]
    change = [units[0][1] - units[0][0], units[1][0] - units[1][1]]
    assert scores["clip_direction"] == pytest.approx(cosine_similarity(*change, dim=0).item(), abs=1e-4)


def test_undoing_a_grade_is_the_way_the_words_say(composite):
    scores = ClipScores().measure(Sample(composite, composite.real, WORDS))
    assert set(scores) == {column.key for column in ClipScores.columns}
    assert scores["clip_direction"] > 0.3
    back = replace(WORDS, foreground=WORDS.background, background=WORDS.foreground)
    assert ClipScores().measure(Sample(composite, composite.real, back))["clip_direction"] == pytest.approx(
        -scores["clip_direction"], abs=1e-4
    )


def test_an_unchanged_image_has_no_direction(composite):
    scores = MetricSet({"clip": ClipScores()}).measure(Sample(composite, composite.image, WORDS))
    assert scores["clip_direction"] == 0
    assert scores["clip_score"] == scores["composite_clip_score"]


def test_only_the_surroundings_count_unless_the_frame_is_asked_for(composite):
    painted = composite.image.clone()
    painted[:, :4] = 0
    for margin, same in ((0.1, True), (None, False)):
        clip = ClipScores(margin=margin, context=False)
        assert (
            clip.score(clip._cut(painted, composite.mask), "object bright")
            == clip.score(clip._cut(composite.image, composite.mask), "object bright")
        ) is same


def test_a_description_without_words_has_no_scores(composite):
    assert ClipScores().measure(Sample(composite, composite.real, Description("", (), ()))) == {}


def test_long_prompts_are_cut_and_images_stay(composite, recwarn):
    before = composite.image.clone()
    long = Description("object", ("bright",) * 40, ("dim",) * 40)
    assert 0 <= ClipScores().measure(Sample(composite, composite.real, long))["clip_score"] <= 100
    assert torch.equal(before, composite.image)
    assert not [warning for warning in recwarn if "length" in str(warning.message)]


def test_bad_settings_are_clear(tmp_path):
    with pytest.raises(ConfigError, match="template"):
        ClipScores(template="photo")
    with pytest.raises(ModelError, match=r"metrics=\[full\]"):
        ClipScores(str(tmp_path / "absent"))


def test_the_statement_names_the_clip_and_what_it_sees():
    crop = "object with a margin of 0.25, surroundings screened"
    assert ClipScores(margin=0.25).statement == f"CLIP clip, {crop}, prompt '{{}}'"
    assert "whole frame" in ClipScores(margin=None).statement
