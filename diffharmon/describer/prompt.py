"""The request to a vision-language model: the prompt in words, the composite and its mask (paper section 3.1)."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.describer import words
from diffharmon.images import resize, to_uint8
from diffharmon.types import Attempt, Composite

PROMPT = """\
You are shown two pictures of the same size. The first is a photo into which one object was pasted from another photo. \
The second is a mask: the object is white, the scene around it is black.

Describe the imaging conditions of both, that is, what kind of light and weather each was photographed in. Look at \
the object alone for the foreground, and at everything else for the background. An object's own colour is not its \
light: a black cat in daylight is not dark.

Use only words of these lists:
{vocabulary}

Rules:
- For the foreground and for the background give one word from the list "brightness", and one word from each of the \
other lists that clearly applies; never two words of the same list.
- Choose words that tell the two apart where their light differs.
- Name the object in one common word.

Answer with one line in exactly this form and nothing else:
object & (foreground) words with commas & (background) words with commas
"""


def vocabulary_lists() -> str:
    """Return the closed vocabulary, one list a line."""
    return "\n".join(f"- {name.replace('_', ' ')}: {', '.join(entries)}" for name, entries in VOCABULARY.items())


def version(prompt: str) -> str:
    """Identify a prompt template together with the vocabulary; descriptions are stored under it."""
    return hashlib.sha256(f"{prompt}\n{vocabulary_lists()}".encode()).hexdigest()[:12]


def compose(prompt: str, previous: Sequence[Attempt], complaint: str = "") -> str:
    """Write out the request.

    Args:
        prompt: The template; ``{vocabulary}`` stands for the lists.
        previous: What was tried and how it scored, so that another description is asked for.
        complaint: Why the last answer could not be used.
    """
    parts = [prompt.replace("{vocabulary}", vocabulary_lists()).strip()]
    lines = []
    for description in words.tried(previous):
        front, back = ", ".join(description.foreground), ", ".join(description.background)
        line = f"- {description.object} & (foreground) {front} & (background) {back}"
        known = [score for score in words.scores(description, previous) if math.isfinite(score)]
        lines.append(f"{line}: harmony score {max(known):.3f}" if known else line)
    if lines:
        parts.append(
            "These descriptions were tried before (a higher score is more harmonious). Give a different one that "
            "fits at least as well:\n" + "\n".join(lines)
        )
    if complaint:
        parts.append(f"Your last answer could not be used: {complaint}")
    return "\n\n".join(parts)


def pictures(composite: Composite, width: int) -> tuple[Image.Image, Image.Image]:
    """Return the composite and its mask as RGB pictures of ``width`` pixels (the reference sends width 1024)."""
    height = max(1, round(composite.image.shape[1] * width / composite.image.shape[2]))
    photo = to_uint8(resize(composite.image, (height, width)))
    mask = to_uint8(resize(composite.mask, (height, width))).expand(3, -1, -1)
    first, second = (np.ascontiguousarray(p.permute(1, 2, 0).cpu().numpy()) for p in (photo, mask))
    return Image.fromarray(first), Image.fromarray(second)
