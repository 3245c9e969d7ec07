"""The instruction for an editing model, made from a description."""

import re

from diffharmon.errors import ConfigError
from diffharmon.types import Description

PLACES = ("{object}", "{foreground}", "{background}")
INSTRUCTION = (
    "Change only the light on the {object}, which now looks {foreground}: make it look {background}, as its "
    "surroundings do. Keep its shape, texture and position, and everything around it, exactly as they are."
)


def check_template(template: str) -> str:
    """Return a template of an instruction.

    Raises:
        ConfigError: It does not say what light is wanted.
    """
    if PLACES[-1] not in template:
        raise ConfigError(f"instruction: got {template!r}, expected a text with {PLACES[-1]}; {PLACES[:-1]} may occur")
    return template


def instruct(template: str, description: Description) -> str:
    """Fill a template with the object and the words of both sides."""
    sides = (", ".join(words) for words in (description.foreground, description.background))
    values = dict(zip(PLACES, (description.object or "object", *sides), strict=True))
    return re.sub("|".join(map(re.escape, PLACES)), lambda found: values[found[0]], template)
