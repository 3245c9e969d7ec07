"""Descriptions that the method can work with."""

from collections.abc import Callable, Sequence
from dataclasses import replace

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


def several(
    first: Description, count: int, untouched: Attempt, describe: Callable[[Sequence[Attempt]], Description]
) -> list[Description]:
    """Ask for descriptions until there are ``count`` different ones, or the describer repeats one.

    Args:
        first: The one that is known.
        count: How many to have.
        untouched: The composite as it is, which every description was given for.
        describe: Asks, given what was tried.
    """
    descriptions = [first]
    while len(descriptions) < count:
        found = describe([replace(untouched, description=known) for known in descriptions])
        if found in descriptions:
            break
        descriptions.append(found)
    return descriptions


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
