"""Descriptions that the method can work with."""

from collections.abc import Sequence

from diffharmon.errors import DescriberError
from diffharmon.method.checking import changes, check_description
from diffharmon.protocols import Describer
from diffharmon.types import Attempt, Composite, Description, Watcher

SAME_WORDS = "the same words describe foreground and background: nothing to change"


def describe(
    describer: Describer, words: int | None, composite: Composite, previous: Sequence[Attempt], watch: Watcher
) -> Description:
    """Ask a describer, and refuse a description without condition words.

    Args:
        describer: What describes.
        words: Use only the first this many condition words on each side; None uses all.
        composite: The composite.
        previous: What was tried, and how it scored.
        watch: Surrounds the stage.
    """
    with watch.stage("describe"):
        description = describer.describe(composite, previous)
    if words is not None:
        description = description.first(words)
    check_description(description)
    return description


def another(description: Description, known: Sequence[Description]) -> Description:
    """Return a description that was not tried yet.

    Raises:
        DescriberError: It was, or has the same words for both sides.
    """
    if description in known:
        raise DescriberError("the describer repeated one that was tried")
    if not changes(description):
        raise DescriberError(SAME_WORDS)
    return description
