"""What a description must have before it is followed."""

from diffharmon.errors import InputError
from diffharmon.types import Description


def changes(description: Description) -> bool:
    """Check that the two sides differ in words or weights: else there is no condition to replace."""
    return description.foreground_weighted != description.background_weighted


def check_description(description: Description) -> None:
    """Refuse a description without condition words.

    Raises:
        InputError: Naming the side without words.
    """
    for side, words in (("foreground", description.foreground), ("background", description.background)):
        if not words:
            raise InputError(
                f"the {side} of {description.object!r} has no condition words; expected at least one, such as "
                "'bright' or 'dim cool'"
            )
    if not description.object:
        raise InputError("the description names no object; expected a word such as 'cat'")
