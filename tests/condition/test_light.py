"""The light of words in numbers."""

import torch

from diffharmon.condition import grades
from diffharmon.condition.light import CARDS, cards_under, named_change
from diffharmon.condition.vocabulary import VOCABULARY


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


def test_the_named_change_undoes_the_grade_that_is_named():
    generator = torch.Generator().manual_seed(0)
    photo = 0.2 + 0.6 * torch.rand(3, 24, 24, generator=generator)
    for choice in (("dim",), ("warm",), ("shadowed", "cold"), ("bright", "golden")):
        graded = grades.sample(choice, generator)(photo)
        undone = graded + named_change(graded, choice, ("daylight",))
        assert (undone - photo).square().mean() < 0.25 * (graded - photo).square().mean(), choice


def test_equal_and_unknown_words_name_no_change():
    photo = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    for words in (("dim", "cool"), ("gloomy",)):
        torch.testing.assert_close(named_change(photo, words, words), torch.zeros_like(photo), atol=1e-5, rtol=0)
    assert torch.equal(named_change(photo, ("gloomy", "dim"), ("daylight",)), named_change(photo, ("dim",), ()))
