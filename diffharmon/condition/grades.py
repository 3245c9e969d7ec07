"""Photo finishing that renders a photo under an imaging condition named in words.

Each word is a distribution over a few physically sensible settings: exposure, white balance, tint and a colour cast
in linear light, haze with its airlight, then a tone curve, contrast, saturation and a tint of the shadows on the
display scale. There is no vignette and no spatial variation, so a grade changes a region by a smooth colour map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

SETTINGS: tuple[str, ...] = (
    "exposure",  # stops, linear light
    "temperature",  # > 0 warmer: stops between red and blue
    "tint",  # > 0 towards magenta, < 0 towards green: stops
    "cast_red",  # stops per channel, luminance kept
    "cast_green",
    "cast_blue",
    "haze",  # share of airlight in [0, 1)
    "air_red",  # airlight on the linear scale
    "air_green",
    "air_blue",
    "curve",  # > 0 lifts mid-tones: log2 of the inverse gamma
    "contrast",  # log2 of the slope at middle grey
    "saturation",  # log2 of the chroma factor
    "shadow_red",  # added to the shadows, display scale
    "shadow_green",
    "shadow_blue",
)
_INDEX: Mapping[str, int] = MappingProxyType({name: index for index, name in enumerate(SETTINGS)})
_LOWER = (-2.6, -1.6, -0.9, -1.5, -1.5, -1.5, 0.0, 0.0, 0.0, 0.0, -0.8, -1.2, -7.0, -0.2, -0.2, -0.2)
_UPPER = (1.8, 1.6, 0.9, 1.5, 1.5, 1.5, 0.75, 1.0, 1.0, 1.0, 0.8, 1.0, 1.3, 0.2, 0.2, 0.2)
HAZE = _INDEX["haze"]
AIR = slice(_INDEX["air_red"], _INDEX["air_blue"] + 1)
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_RELATIVE_SPREAD = 0.18
_ABSOLUTE_SPREAD = {"exposure": 0.08, "temperature": 0.05, "tint": 0.03, "contrast": 0.05, "saturation": 0.06}

# Means of the settings each word stands for; what is not named is neutral.
_WORDS: dict[str, dict[str, float]] = {
    # brightness
    "dazzling": {"exposure": 1.25, "haze": 0.04, "curve": 0.25, "contrast": 0.1, "saturation": -0.2},
    "bright": {"exposure": 0.8, "curve": 0.12},
    "dim": {"exposure": -1.0, "contrast": -0.1},
    "dull": {"exposure": -0.35, "contrast": -0.55, "saturation": -0.7},
    "shaded": {"exposure": -0.75, "temperature": -0.35, "contrast": -0.3, "saturation": -0.15},
    "shadowed": {"exposure": -1.6, "temperature": -0.1, "contrast": 0.15, "saturation": -0.2},
    # weather
    "cloudy": {"exposure": -0.35, "temperature": -0.25, "contrast": -0.35, "saturation": -0.5},
    "sunny": {"exposure": 0.55, "temperature": 0.4, "contrast": 0.3, "saturation": 0.35},
    "rainy": {
        "exposure": -0.75,
        "temperature": -0.4,
        "tint": -0.08,
        "haze": 0.05,
        "contrast": -0.2,
        "saturation": -0.65,
    },
    "snowy": {"exposure": 0.7, "temperature": -0.45, "haze": 0.06, "curve": 0.2, "saturation": -0.6},
    "foggy": {"haze": 0.28, "curve": 0.1, "contrast": -0.25, "saturation": -0.45},
    "windy": {"exposure": 0.1, "temperature": -0.2, "contrast": 0.25, "saturation": -0.1},
    "stormy": {"exposure": -1.3, "temperature": -0.55, "tint": -0.1, "contrast": 0.3, "saturation": -0.5},
    "clear": {"exposure": 0.2, "contrast": 0.4, "saturation": 0.45},
    "misty": {
        "haze": 0.13,
        "temperature": -0.25,
        "exposure": -0.1,
        "curve": 0.1,
        "contrast": -0.2,
        "saturation": -0.3,
    },
    # temperature
    "hot": {"exposure": 0.35, "temperature": 1.3, "tint": 0.08, "saturation": 0.2},
    "warm": {"exposure": 0.05, "temperature": 0.9, "saturation": 0.1},
    "cool": {"temperature": -0.85},
    "cold": {"exposure": -0.2, "temperature": -1.3, "saturation": -0.15},
    "icy": {"exposure": 0.6, "temperature": -1.3, "tint": -0.12, "contrast": 0.15, "saturation": -0.3},
    # season
    "spring": {"exposure": 0.35, "tint": -0.2, "curve": 0.15, "saturation": 0.25, "temperature": 0.1},
    "summer": {"exposure": 0.35, "temperature": 0.35, "contrast": 0.2, "saturation": 0.5},
    "autumn": {"exposure": -0.25, "temperature": 0.95, "tint": 0.15, "contrast": 0.1, "saturation": 0.15},
    "winter": {"exposure": 0.25, "temperature": -0.8, "contrast": -0.15, "saturation": -0.8},
    # time
    "dawn": {"exposure": -0.5, "temperature": -0.15, "tint": 0.35, "contrast": -0.3, "shadow_blue": 0.06},
    "sunrise": {"exposure": 0.15, "temperature": 0.8, "tint": 0.28, "haze": 0.05, "curve": 0.1},
    "daylight": {},
    "twilight": {"exposure": -1.0, "temperature": -0.7, "tint": 0.3, "shadow_blue": 0.08, "contrast": -0.2},
    "sunset": {"exposure": -0.35, "temperature": 1.2, "tint": 0.3, "contrast": 0.2, "saturation": 0.25},
    "dusk": {"exposure": -1.15, "temperature": 0.3, "tint": 0.3, "shadow_blue": 0.07, "saturation": -0.15},
    "dark": {"exposure": -2.1, "contrast": -0.05, "saturation": -0.2},
    "night": {
        "exposure": -1.9,
        "temperature": -1.1,
        "saturation": -0.5,
        "shadow_blue": 0.05,
        "contrast": 0.15,
    },
    # color tone
    "greyscale": {"saturation": -7.0},
    "neon": {"saturation": 1.05, "tint": 0.45, "contrast": 0.3, "temperature": -0.25, "shadow_blue": 0.06},
    "golden": {"exposure": 0.2, "temperature": 1.1, "tint": -0.04, "contrast": 0.1, "saturation": 0.35},
    "white": {"exposure": 0.75, "haze": 0.12, "saturation": -0.9, "curve": 0.15},
    "blue": {"cast_red": -0.7, "cast_green": -0.15, "cast_blue": 1.0},
    "green": {"cast_red": -0.5, "cast_green": 0.45, "cast_blue": -0.5},
    "yellow": {"cast_red": 0.3, "cast_green": 0.2, "cast_blue": -1.1, "exposure": 0.1},
    "orange": {"cast_red": 0.75, "cast_green": -0.1, "cast_blue": -1.1},
    "red": {"cast_red": 1.1, "cast_green": -0.65, "cast_blue": -0.5},
    "earthy": {
        "exposure": -0.45,
        "cast_red": 0.3,
        "cast_green": 0.0,
        "cast_blue": -0.65,
        "contrast": -0.2,
        "saturation": -0.45,
    },
    # environment: mild, since a place says less about light than the other lists
    "city": {"exposure": -0.1, "temperature": -0.15, "contrast": 0.2, "saturation": -0.3},
    "rural": {"exposure": 0.1, "temperature": 0.15, "tint": -0.15, "saturation": 0.1},
    "lake": {"cast_red": -0.3, "cast_green": 0.05, "cast_blue": 0.2, "exposure": -0.1},
    "ocean": {"cast_red": -0.4, "cast_green": 0.05, "cast_blue": 0.45, "exposure": 0.1, "saturation": 0.1},
    "mountain": {"temperature": -0.35, "haze": 0.05, "contrast": 0.1},
    "forest": {"exposure": -0.55, "cast_red": -0.2, "cast_green": 0.2, "cast_blue": -0.3, "saturation": 0.05},
    "desert": {"exposure": 0.3, "temperature": 0.7, "haze": 0.05, "saturation": -0.1},
    "grassland": {
        "exposure": 0.1,
        "cast_red": -0.05,
        "cast_green": 0.2,
        "cast_blue": -0.35,
        "saturation": 0.15,
    },
    "sky": {"exposure": 0.4, "temperature": -0.5, "haze": 0.06},
    "space": {"exposure": -1.6, "temperature": -0.3, "tint": 0.25, "contrast": 0.45},
    "indoor": {"exposure": -0.4, "temperature": 0.5, "contrast": -0.15},
    "street": {"exposure": -0.2, "temperature": 0.1, "contrast": 0.15, "saturation": -0.25},
}
_WHITE_AIR = (0.78, 0.8, 0.82)
_AIRLIGHT: dict[str, tuple[float, float, float]] = {
    "rainy": (0.35, 0.38, 0.4),
    "sunrise": (0.95, 0.7, 0.5),
    "desert": (0.85, 0.7, 0.5),
    "mountain": (0.55, 0.65, 0.8),
    "dazzling": (1.0, 1.0, 0.97),
    "snowy": (0.9, 0.94, 1.0),
    "white": (0.95, 0.95, 0.95),
    "sky": (0.6, 0.75, 0.95),
}


def _means() -> Mapping[str, tuple[float, ...]]:
    table = {}
    for word, named in _WORDS.items():
        air = _AIRLIGHT.get(word, _WHITE_AIR)
        values = {"air_red": air[0], "air_green": air[1], "air_blue": air[2], **named}
        table[word] = tuple(values.get(name, 0.0) for name in SETTINGS)
    return MappingProxyType(table)


WORD_SETTINGS: Mapping[str, tuple[float, ...]] = _means()


@dataclass(frozen=True)
class Grade:
    """One draw of the photo-finishing settings, or a batch of draws.

    Attributes:
        settings: values in the order of `SETTINGS`; neutral is zero haze and zero everywhere else.
    """

    settings: Float[Tensor, "*b 16"]

    def __call__(self, image: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
        """Render an RGB image in [0, 1] under this grade; see `apply`."""
        return apply(image, self.settings)


def sample(
    words: Sequence[str], generator: torch.Generator, strength: float = 1.0, weights: Sequence[float] = ()
) -> Grade:
    """Draw one grade for a set of condition words.

    Settings of several words add up, damped by n^-0.3 so that long descriptions stay photographs. Each word's
    settings vary by about a fifth of their mean.

    Args:
        words: words of the vocabulary; none means a neutral grade with the common small spread.
        generator: source of randomness.
        strength: factor on every setting, 1 for the word as it is, 0 for no change.
        weights: how much each word counts, see `mix`; none means fully.

    Raises:
        ValueError: for a word outside the vocabulary, a negative strength, or weights that are not one a word.
    """
    unknown = [word for word in words if word not in WORD_SETTINGS]
    if unknown:
        raise ValueError(f"no grade for {unknown}; known words: {', '.join(sorted(WORD_SETTINGS))}")
    if strength < 0:
        raise ValueError(f"strength must not be negative, got {strength}")
    if weights and len(weights) != len(words):
        raise ValueError(f"expected one weight for each of {len(words)} words, got {len(weights)}")
    means = torch.tensor([WORD_SETTINGS[word] for word in words]).reshape(-1, len(SETTINGS))
    drawn = means * (1 + _RELATIVE_SPREAD * torch.randn(means.shape, generator=generator))
    drawn[:, AIR] = means[:, AIR]
    spread = torch.tensor([_ABSOLUTE_SPREAD.get(name, 0.0) for name in SETTINGS])
    total = mix(drawn, torch.tensor(weights) if weights else torch.ones(len(words))) + spread * torch.randn(
        len(SETTINGS), generator=generator
    )
    total[: AIR.start] *= strength
    total[AIR.stop :] *= strength
    return Grade(total.clamp(torch.tensor(_LOWER), torch.tensor(_UPPER)))


def mix(settings: Float[Tensor, "*b k 16"], chosen: Float[Tensor, "*b k"]) -> Float[Tensor, "*b 16"]:
    """Put the settings of several words together: they add up, damped by n^-0.3, and haze by what it lets through.

    Args:
        settings: one row a word.
        chosen: the weight of each word: 1 for those that count fully, 0 for those that do not count.
    """
    total = (settings * chosen[..., None]).sum(-2) * chosen.sum(-1, keepdim=True).clamp_min(1) ** -0.3
    haze = settings[..., HAZE].clamp(0, 1) * chosen
    total[..., HAZE] = 1 - (1 - haze).prod(-1)
    air = (settings[..., AIR] * haze[..., None]).sum(-2) / haze.sum(-1, keepdim=True).clamp_min(1e-6)
    total[..., AIR] = torch.where(haze.sum(-1, keepdim=True) > 0, air, total[..., AIR])
    return total


def stack(grades: Sequence[Grade]) -> Grade:
    """Join single grades into one for a batch of images."""
    return Grade(torch.stack([grade.settings for grade in grades]))


def to_linear(image: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Undo the sRGB transfer curve (IEC 61966-2-1)."""
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def to_display(linear: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Apply the sRGB transfer curve (IEC 61966-2-1) to linear light, which is clipped to [0, 1]."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def apply(image: Float[Tensor, "*b 3 h w"], settings: Float[Tensor, "*b 16"]) -> Float[Tensor, "*b 3 h w"]:
    """Render RGB images in [0, 1] with photo-finishing settings in the order of `SETTINGS`.

    Neutral settings return the image up to rounding. Over-exposure rolls off instead of clipping hard.
    """
    value = {name: settings[..., index, None, None, None] for name, index in _INDEX.items()}
    luminance = torch.tensor(_LUMINANCE, dtype=image.dtype, device=image.device)[:, None, None]

    def colour(prefix: str) -> Tensor:
        return torch.cat([value[f"{prefix}_{channel}"] for channel in ("red", "green", "blue")], -3)

    balance = torch.cat([value["temperature"] / 2, -value["tint"], -value["temperature"] / 2], -3)
    gains = torch.exp2(balance + colour("cast"))
    gains = gains / (gains * luminance).sum(-3, keepdim=True)
    factor = torch.exp2(value["exposure"])
    linear = to_linear(image) * gains
    linear = linear * factor / (1 + 0.6 * (factor - 1).clamp_min(0) * linear)
    linear = linear * (1 - value["haze"]) + colour("air") * value["haze"]
    shown = to_display(linear)
    shown = shown.clamp_min(1e-4) ** torch.exp2(-value["curve"])
    shown = 0.42 + (shown - 0.42) * torch.exp2(value["contrast"])
    grey = (shown * luminance).sum(-3, keepdim=True)
    shown = grey + (shown - grey) * torch.exp2(value["saturation"])
    shown = shown + colour("shadow") * (1 - grey.clamp(0, 1)) ** 2
    return shown.clamp(0, 1)
