"""The light of words in numbers."""

import torch

from diffharmon.condition import grades
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.describer.light import CARDS, cards_under


def test_neutral_light_leaves_the_cards_alone():
    shown = cards_under([(), ("daylight",)]).unflatten(1, (3, len(CARDS)))
    torch.testing.assert_close(shown, torch.tensor(CARDS).T.expand(2, -1, -1), atol=1e-4, rtol=0)


def test_words_do_what_their_names_say():
    names = ["bright", "dim", "warm", "cool", "greyscale", "foggy"]
    red, green, blue = (
        dict(zip(names, part, strict=True)) for part in cards_under([(n,) for n in names]).chunk(3, dim=1)
    )
    assert green["bright"].mean() > green["dim"].mean()
    assert (red["warm"] - blue["warm"]).mean() > (red["cool"] - blue["cool"]).mean()
    assert (red["greyscale"] - blue["greyscale"]).abs().max() < 0.02
    assert green["foggy"].min() > green["dim"].min()


def test_sets_go_together_as_grades_are_drawn():
    """The mean over many draws of a grade is close to the cards of its words; grades are drawn by other code."""
    generator = torch.Generator().manual_seed(0)
    for choice in (("dim",), ("bright", "warm"), ("dull", "foggy", "cold"), ("shadowed", "rainy", "sunset")):
        cards = torch.tensor(CARDS).T[:, :, None]
        drawn = torch.stack([grades.sample(choice, generator)(cards).flatten() for _ in range(200)]).mean(0)
        assert (drawn - cards_under([choice])[0]).abs().max() < 0.05


def test_every_word_has_a_light():
    assert cards_under([(word,) for entries in VOCABULARY.values() for word in entries]).isfinite().all()
