"""The user's own words, the same for every image."""

from collections.abc import Sequence

from diffharmon.describer import words
from diffharmon.types import Attempt, Composite, Description


class Fixed:
    """Gives the same words for every image.

    Words are a list or text with spaces or commas; any word is allowed, also outside the vocabulary.
    A weight may follow a word, as in ``bright:0.6``.

    Args:
        object: Name of the foreground object, such as ``cat``.
        foreground: Words for the light the foreground was taken in.
        background: Words for the light of the scene around it.

    Raises:
        InputError: when the object or the words of one side are missing.
    """

    def __init__(
        self, object: str = "", foreground: str | Sequence[str] = (), background: str | Sequence[str] = ()
    ) -> None:
        name = " ".join(words.split(object, "describer.object"))
        front, front_weights = words.weighted(foreground, "describer.foreground")
        back, back_weights = words.weighted(background, "describer.background")
        words.require(name, front, back, "describer=fixed")
        self.description = Description(
            name,
            front,
            back,
            describer="fixed",
            user_provided=True,
            foreground_weights=front_weights,
            background_weights=back_weights,
        )

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Return the given words."""
        return self.description
