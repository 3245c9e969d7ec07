import pytest
import torch

from diffharmon.condition import grades
from diffharmon.condition.vocabulary import VOCABULARY

WORDS = [word for words in VOCABULARY.values() for word in words]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def image() -> torch.Tensor:
    return 0.15 + 0.6 * torch.rand(3, 24, 20, generator=seeded(1))


def mean_of(word: str, image: torch.Tensor, draws: int = 8) -> torch.Tensor:
    generator = seeded(2)
    return torch.stack([grades.sample([word], generator)(image) for _ in range(draws)]).mean((0, 2, 3))


def test_every_word_of_the_vocabulary_has_a_grade() -> None:
    assert set(grades.WORD_SETTINGS) == set(WORDS)


@pytest.mark.parametrize("word", WORDS)
def test_a_grade_stays_an_image_and_repeats_with_its_seed(word: str, image: torch.Tensor) -> None:
    first, second = (grades.sample([word], seeded(3))(image) for _ in range(2))
    assert first.shape == image.shape
    assert first.isfinite().all()
    assert 0 <= first.min() <= first.max() <= 1
    assert torch.equal(first, second)
    assert not torch.equal(first, grades.sample([word], seeded(4))(image))


def test_neutral_settings_return_the_image(image: torch.Tensor) -> None:
    assert torch.allclose(grades.apply(image, torch.zeros(16)), image, atol=1e-5)


def test_no_strength_changes_nothing(image: torch.Tensor) -> None:
    untouched = grades.sample(["sunset", "dim"], seeded(), strength=0.0)(image)
    assert torch.allclose(untouched, image, atol=1e-5)


def test_strength_grows_the_change(image: torch.Tensor) -> None:
    changes = [(grades.sample(["dusk"], seeded(), strength=s)(image) - image).abs().mean() for s in (0.3, 0.7, 1.0)]
    assert changes[0] < changes[1] < changes[2]


def test_words_look_like_their_names(image: torch.Tensor) -> None:
    plain = image.mean((1, 2))
    red, green, blue = range(3)
    assert mean_of("bright", image).mean() > plain.mean() > mean_of("dim", image).mean() > mean_of("dark", image).mean()
    warm, cold = mean_of("warm", image), mean_of("cold", image)
    assert warm[red] - warm[blue] > plain[red] - plain[blue] > cold[red] - cold[blue]
    for name, channel in (("red", red), ("green", green), ("blue", blue)):
        assert mean_of(name, image).argmax() == channel
    assert mean_of("greyscale", image).std() < 0.01
    fog = grades.sample(["foggy"], seeded())(image)
    assert fog.std() < image.std()
    assert fog.min() > image.min()


def test_a_batch_equals_its_images(image: torch.Tensor) -> None:
    drawn = [grades.sample([word], seeded(5)) for word in ("sunny", "night", "misty")]
    batch = grades.stack(drawn)(image.expand(3, -1, -1, -1))
    for graded, grade in zip(batch, drawn, strict=True):
        assert torch.allclose(graded, grade(image), atol=1e-6)


def test_haze_of_two_words_adds_up() -> None:
    haze = grades.SETTINGS.index("haze")
    both = grades.sample(["foggy", "mountain"], seeded()).settings[haze]
    assert both > grades.sample(["foggy"], seeded()).settings[haze] * 0.9
    assert both < 1


def test_linear_light_round_trip(image: torch.Tensor) -> None:
    assert torch.allclose(grades.to_display(grades.to_linear(image)), image, atol=1e-5)


def test_a_word_without_grade_is_refused() -> None:
    with pytest.raises(ValueError, match="gloomy"):
        grades.sample(["gloomy"], seeded())


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        grades.sample(["dim"], seeded(), strength=-1.0)
