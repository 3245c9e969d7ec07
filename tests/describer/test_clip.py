"""Zero-shot description, with a toy CLIP that learnt four words on graded noise and with the embedded one."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from diffharmon.condition import grades
from diffharmon.condition.clip_reading import WORDS, expected_light
from diffharmon.condition.light import cards_under
from diffharmon.condition.vocabulary import VOCABULARY, list_of
from diffharmon.describer.clip import Clip
from diffharmon.errors import ConfigError, ModelError
from diffharmon.images.regions import hide
from diffharmon.protocols import Describer
from diffharmon.training.clip import build_clip, build_processor
from diffharmon.training.tokenizer import train_tokenizer
from diffharmon.types import Composite

LEARNT = ("bright", "shadowed", "hot", "icy")
SIZE = 16


def scene(generator, words=(), size=SIZE):
    """Make smooth noise around middle grey under the light that words name."""
    noise = torch.rand(1, 3, 4, 4, generator=generator)
    photo = functional.interpolate(0.35 + 0.15 * noise, size, mode="bilinear")[0]
    return grades.sample(words, generator)(photo) if words else photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    tokenizer = train_tokenizer({"object", "photo", *(word for entries in VOCABULARY.values() for word in entries)})
    torch.manual_seed(0)
    model = build_clip(tokenizer, SIZE, patch=8, width=32, layers=1, embedding=16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    tokens = tokenizer([f"object {word}" for word in LEARNT], padding="max_length", return_tensors="pt").input_ids
    mask = torch.zeros(1, SIZE, SIZE)
    mask[:, 4:12, 4:12] = 1
    scenes = torch.stack([torch.stack([scene(generator, (word,)) for _ in range(128)]) for word in LEARNT])
    for _ in range(150):
        targets = torch.randint(len(LEARNT), (16,), generator=generator)
        shown = scenes[targets, torch.randint(scenes.shape[1], (16,), generator=generator)]
        shown = torch.cat([hide(shown[:8], mask, False), hide(shown[8:], 1 - mask, False)])
        seen = functional.normalize(model.get_image_features((shown - 0.5) / 0.5).pooler_output, dim=-1)
        said = functional.normalize(model.get_text_features(tokens).pooler_output, dim=-1)
        loss = functional.cross_entropy(14 * seen @ said.T, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(path)
    build_processor(tokenizer, SIZE).save_pretrained(path)
    return str(path)


@cache
def load(folder, **settings):
    """Load a describer once for all tests: it keeps nothing of what it described."""
    return Clip(folder, **settings)


def composite_of(foreground, background, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(1, 32, 48)
    mask[:, 8:24, 12:36] = 1
    front, back = (functional.interpolate(scene(generator, w)[None], (32, 48))[0] for w in (foreground, background))
    return Composite("toy", "test", front * mask + back * (1 - mask), mask)


def read(clip, composite):
    return clip.reading.probabilities(clip.reading.embed(composite), clip.reading.prompts("object"))


def advantage(clip, composite, first, second):
    """How much more the foreground than the background is ``first`` rather than ``second``, in nats."""
    front, back = (p[WORDS.index(first)].log() - p[WORDS.index(second)].log() for p in read(clip, composite))
    return float(front - back)


def test_regions_are_read_on_their_own(folder):
    clip = load(folder, context=False)
    signs = []
    for seed in range(10):
        signs += [advantage(clip, composite_of(("bright",), ("shadowed",), seed), "bright", "shadowed") > 0]
        signs += [advantage(clip, composite_of(("shadowed",), ("bright",), seed), "bright", "shadowed") < 0]
        signs += [advantage(clip, composite_of(("hot",), ("icy",), seed), "hot", "icy") > 0]
    assert sum(signs) >= 27


def test_what_lies_in_the_other_region_is_not_seen(folder):
    clip, composite = load(folder, context=False), composite_of(("hot",), ("icy",))
    painted = composite.image * composite.mask + torch.rand_like(composite.image) * (1 - composite.mask)
    before, after = read(clip, composite), read(clip, replace(composite, image=painted))
    torch.testing.assert_close(before[0], after[0])
    assert not torch.allclose(before[1], after[1])
    seeing = load(folder)
    assert not torch.allclose(read(seeing, composite)[0], read(seeing, replace(composite, image=painted))[0])


def test_a_mirrored_composite_is_read_alike(folder):
    clip, composite = load(folder), composite_of(("hot",), ("icy",))
    mirrored = replace(composite, image=composite.image.flip(-1), mask=composite.mask.flip(-1))
    torch.testing.assert_close(read(clip, composite), read(clip, mirrored), atol=2e-3, rtol=0)


def test_small_differences_are_left_alone(folder):
    table = 0.9 * certain("daylight", "daylight") + 0.1 * certain("dim", "daylight")
    said = [load(folder, brightness=False, min_difference=bound).ranked("cat", table)[0] for bound in (0.0, 0.1)]
    assert said[0].foreground != said[0].background
    assert said[1].foreground == said[1].background


def certain(*words):
    """Probabilities as if each region were sure of one word."""
    table = torch.full((2, len(WORDS)), 1e-6)
    for row, word in zip(table, words, strict=True):
        row[WORDS.index(word)] = 1
    return table / table.sum(1, keepdim=True)


@pytest.mark.parametrize("words", [("shadowed", "daylight"), ("golden", "foggy"), ("night", "bright")])
def test_a_sure_reading_is_said_as_it_is(folder, words):
    said = load(folder, words=1, amplify=1.0).ranked("cat", certain(*words))[0]
    assert (said.foreground, said.background) == ((words[0],), (words[1],))


def test_an_unsure_reading_gives_milder_words(folder):
    unsure = 0.5 * certain("shadowed", "daylight") + 0.5 * certain("daylight", "daylight")
    said = load(folder, brightness=False, words=1).ranked("cat", unsure)[0]
    exposure = {word: grades.WORD_SETTINGS[word][0] for word in WORDS}
    assert exposure["shadowed"] < exposure[said.foreground[0]] < exposure["daylight"]


@pytest.mark.parametrize("words", [1, 2, 3])
def test_equal_light_gets_equal_words(folder, words):
    table = torch.rand(1, len(WORDS), generator=torch.Generator().manual_seed(words)).expand(2, -1)
    said = load(folder, brightness=False, words=words, background=1.0).ranked(
        "cat", table / table.sum(1, keepdim=True)
    )[0]
    assert said.foreground == said.background


def test_the_expected_light_is_amplified_about_neutral():
    table = torch.rand(2, len(WORDS), generator=torch.Generator().manual_seed(0))
    table = table / table.sum(1, keepdim=True)
    plain, double = (expected_light(table, amplify=factor) for factor in (1.0, 2.0))
    torch.testing.assert_close(double - plain, plain - cards_under([()]), atol=1e-5, rtol=0)


def test_the_background_is_believed_as_far_as_told(folder):
    table = certain("daylight", "shadowed")
    said = {
        share: load(folder, words=1, amplify=1.0, background=share).ranked("cat", table)[0].background
        for share in (0.0, 1.0)
    }
    assert said == {0.0: ("daylight",), 1.0: ("shadowed",)}


def test_contrast_weighs_the_difference(folder):
    """The chosen pair's difference of light is never further from the expected one than without contrast."""
    plain, keen = (load(folder, brightness=False, contrast=weight) for weight in (0.0, 100.0))
    generator = torch.Generator().manual_seed(0)
    better = 0
    for _ in range(10):
        table = torch.rand(2, len(WORDS), generator=generator) ** 8
        table = table / table.sum(1, keepdim=True)
        expected = expected_light(table)
        wanted = expected[0] - expected[1]
        gaps = []
        for clip in (plain, keen):
            said = clip.ranked("cat", table)[0]
            front, back = cards_under([said.foreground, said.background])
            gaps.append(float((front - back - wanted).square().mean()))
        assert gaps[1] <= gaps[0] + 1e-9
        better += gaps[1] < gaps[0] - 1e-9
    assert better >= 3


@pytest.mark.parametrize("brightness", [True, False])
def test_descriptions_keep_the_rules_of_the_vocabulary(folder, brightness):
    clip = load(folder, words=3, brightness=brightness)
    assert isinstance(clip, Describer)
    for seed in range(5):
        said = clip.describe(composite_of(("hot",), ("shadowed",), seed))
        for side in (said.foreground, said.background):
            lists = [list_of(word) for word in side]
            assert 1 <= len(set(lists)) == len(lists) <= 3
            assert not brightness or lists[0] == "brightness"
        assert said.describer == "clip"


def test_what_was_tried_is_not_said_again(folder, attempt):
    clip, composite = load(folder), composite_of(("hot",), ("shadowed",))
    history = []
    for number in range(6):
        said = clip.describe(composite, history)
        assert said == clip.describe(composite, history), "the same history gives the same words"
        history.append(attempt(said, 0.1 * number, number))
    assert len({(a.description.foreground, a.description.background) for a in history}) == 6


def test_the_number_of_words_is_bounded(folder):
    composite = composite_of(("bright", "hot"), ("shadowed", "icy"))
    for most in (1, 2, 3):
        said = load(folder, brightness=False, words=most).ranked("cat", read(load(folder), composite))
        assert max(len(one.foreground) for one in said) == most


def test_the_object_is_named_from_a_choice(folder):
    composite = composite_of(("bright",), ("shadowed",))
    assert load(folder, objects="cat").describe(composite).object == "cat"
    assert load(folder, objects=("shadowed", "bright"), context=False).describe(composite).object == "bright"


def test_the_composite_stays_as_it_is(folder):
    composite = composite_of(("bright",), ("shadowed",))
    before = composite.image.clone()
    load(folder).describe(composite)
    assert torch.equal(before, composite.image)


@pytest.mark.parametrize("setting", [{"objects": []}, {"template": "a"}])
def test_settings_that_name_nothing_are_refused(folder, setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Clip(folder, **setting)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="absent"):
        Clip(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot load the CLIP model"):
        Clip(str(tmp_path))


ASSET = Path(__file__).parents[2] / "diffharmon" / "assets" / "clip"


@pytest.mark.skipif(not (ASSET / "config.json").is_file(), reason="the embedded CLIP is not there")
@pytest.mark.parametrize(("more", "less"), [("bright", "shadowed"), ("hot", "icy")])
def test_the_embedded_clip_tells_directions(more, less):
    import skimage

    photo = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1).float() / 255
    mask = torch.zeros(1, *photo.shape[1:])
    mask[:, 60:250, 120:350] = 1
    clip = Clip()
    bright, dark = (
        replace(
            composite, image=grades.sample((word,), torch.Generator().manual_seed(0))(photo) * mask + photo * (1 - mask)
        )
        for composite in [Composite("cat", "test", photo, mask)]
        for word in (more, less)
    )
    assert advantage(clip, bright, more, less) > advantage(clip, dark, more, less) + 0.5
