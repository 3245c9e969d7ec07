"""The closed vocabulary of imaging conditions (paper, section 3.1: the description prompt's seven word lists)."""

from collections.abc import Mapping
from types import MappingProxyType

VOCABULARY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "brightness": ("dazzling", "bright", "dim", "dull", "shaded", "shadowed"),
        "weather": ("cloudy", "sunny", "rainy", "snowy", "foggy", "windy", "stormy", "clear", "misty"),
        "temperature": ("hot", "warm", "cool", "cold", "icy"),
        "season": ("spring", "summer", "autumn", "winter"),
        "time": ("dawn", "sunrise", "daylight", "twilight", "sunset", "dusk", "dark", "night"),
        "color_tone": (
            "greyscale",
            "neon",
            "golden",
            "white",
            "blue",
            "green",
            "yellow",
            "orange",
            "red",
            "earthy",
        ),
        "environment": (
            "city",
            "rural",
            "lake",
            "ocean",
            "mountain",
            "forest",
            "desert",
            "grassland",
            "sky",
            "space",
            "indoor",
            "street",
        ),
    }
)

_LIST_OF_WORD: Mapping[str, str] = MappingProxyType(
    {word: name for name, words in VOCABULARY.items() for word in words}
)


def list_of(word: str) -> str | None:
    """Name the list that holds a condition word.

    Args:
        word: a word in any letter case.

    Returns:
        The list's name in `VOCABULARY`, or None when the word is in none of them.
    """
    return _LIST_OF_WORD.get(word.strip().lower())
