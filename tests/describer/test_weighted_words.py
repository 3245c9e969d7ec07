"""Words with weights: reading and writing them, what they do to prompts, and the reader that gives them."""

import pytest
import torch

from diffharmon.condition.reader.network import ReaderNetwork
from diffharmon.describer.file import File
from diffharmon.describer.fixed import Fixed
from diffharmon.describer.reader import Reader, sample
from diffharmon.describer.words import same
from diffharmon.embedding.word_weights import weighted_edits
from diffharmon.errors import InputError
from diffharmon.types import Attempt, Composite, Description, Score
from diffharmon.types.words import read_word, write_words


def composite() -> Composite:
    image = torch.full((3, 64, 64), 0.7) + 0.05 * torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 64, 64)
    mask[:, 20:44, 16:50] = 1
    return Composite("dark", "test", torch.where(mask > 0, image - 0.45, image), mask)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("reader")
    ReaderNetwork(size=64, hidden=16).save_pretrained(folder)
    return str(folder)


def test_words_are_written_as_they_are_read():
    assert read_word("bright") == ("bright", 1.0)
    assert read_word("bright:0.6") == ("bright", 0.6)
    assert write_words(("bright", "cool"), (0.6, 1.0)) == ["bright:0.6", "cool"]
    assert write_words(("bright",), ()) == ["bright"]


@pytest.mark.parametrize("text", ["bright:", "bright:x", "bright:-1", "bright:0", "bright:3", ":0.5", "bright:nan"])
def test_a_weight_that_is_none_is_refused_with_what_was_given(text):
    with pytest.raises(ValueError, match="is no weighted word"):
        read_word(text)
    with pytest.raises(InputError, match=r"describer\.foreground.*is no weighted word"):
        Fixed("cat", text, "dim")


def test_a_description_keeps_its_weights_through_a_row():
    given = Description("cat", ("bright", "cool"), ("dim",), "reader", foreground_weights=(0.6, 1.0))
    assert Description.from_row(given.row()) == given
    assert Description.from_row(given.row()).background_weights == ()
    assert given.first(1).foreground_weights == (0.6,)
    with pytest.raises(ValueError, match="a weight for each"):
        Description("cat", ("bright",), ("dim",), foreground_weights=(0.5, 0.5))


def test_descriptions_with_other_weights_are_not_the_same():
    first, second = (Description("cat", ("bright",), ("dim",), foreground_weights=(w,)) for w in (0.5, 0.6))
    assert not same(first, second)
    assert same(first, Description("cat", ("bright",), ("dim",), foreground_weights=(0.5,)))


def test_fixed_words_and_files_read_weights(tmp_path):
    fixed = Fixed("cat", "bright:0.6 cool", "dim").describe(composite())
    assert fixed.foreground_weighted == {"bright": 0.6, "cool": 1.0}
    assert fixed.foreground_prompt == "cat bright cool"
    tabbed, rows = tmp_path / "captions.txt", tmp_path / "words.jsonl"
    tabbed.write_text("dark\tcat bright:0.6 cool,cat dim\n")
    rows.write_text('{"name": "dark", "object": "cat", "foreground": ["bright:0.6", "cool"], "background": ["dim"]}\n')
    for path in (tabbed, rows):
        assert same(File(str(path)).describe(composite()), fixed)


def test_a_weighted_word_stands_between_the_neutral_word_and_itself(backbone):
    plain = Description("cat", ("bright", "dim"), ("warm",))
    assert weighted_edits(backbone, plain) == (None, None)
    spans = backbone.words(plain)
    (place,) = spans.foreground["bright"]
    found = []
    for weight in (0.25, 0.5, 2.0):
        half = Description("cat", ("bright", "dim"), ("warm",), foreground_weights=(weight, 1.0))
        edit, other = weighted_edits(backbone, half)
        assert other is None
        assert edit.positions == spans.foreground_positions
        found.append(edit.vectors[edit.positions.index(place)])
        (dim,) = spans.foreground["dim"]
        torch.testing.assert_close(
            edit.vectors[edit.positions.index(dim)], backbone.input_embeddings("cat bright dim", [dim])[0]
        )
    full = backbone.input_embeddings("cat bright dim", [place])[0]
    neutral = 2 * found[1] - full
    torch.testing.assert_close(found[0], 0.75 * neutral + 0.25 * full, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[2], 2 * full - neutral, atol=1e-5, rtol=1e-4)
    text, edited = backbone.embed(["cat bright dim"] * 2, [None, weighted_edits(backbone, half)[0]])
    assert not torch.equal(text.tokens, edited.tokens)


def test_the_reader_describes_its_change_in_few_weighted_words(weights):
    described = Reader(weights).describe(composite())
    assert 1 <= len(described.foreground) <= 4
    assert 1 <= len(described.background) <= 4
    assert described.change.shift[0] > 0
    assert described.residual >= 0
    assert not described.user_provided
    assert Reader(weights).describe(composite()) == described


def test_the_reader_goes_less_far_when_it_is_asked_again(weights):
    reader = Reader(weights)
    first = reader.describe(composite())
    tried = Attempt(0, composite().image, Score(0.0), first, number=0)
    second = reader.describe(composite(), [tried])
    assert not same(first, second)
    assert 0 < second.change.shift[0] < first.change.shift[0]


def test_a_reader_out_of_range_is_refused(weights):
    with pytest.raises(InputError, match=r"describer\.strength"):
        Reader(weights, strength=0.0)
    with pytest.raises(InputError, match=r"describer\.words"):
        Reader(weights, words=0)


def test_colours_are_sampled_from_the_foreground_alone():
    picked = sample(composite())
    assert len(picked) <= 48
    assert picked.max() < 0.45
