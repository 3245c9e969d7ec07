"""Zero-shot description by CLIP (Radford et al., arXiv 2103.00020): offline, no key, the default."""

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated

from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor

from diffharmon.clip_model import EMBEDDED, ClipEmbedder
from diffharmon.condition.clip_reading import AMPLIFY, WORDS, ClipReading, expected_light
from diffharmon.condition.light import cards_under
from diffharmon.condition.vocabulary import list_of
from diffharmon.describer import words
from diffharmon.errors import ConfigError
from diffharmon.types import Attempt, Composite, Description

HELP = "The default, the model shipped with diffharmon, works offline; describer=fixed and describer=file need none."
_OPTIONS = 24


class Clip:
    """Reads foreground and background one after the other and names how their light differs.

    A region is shown clearly and the rest through a grey screen (`diffharmon.images.regions`), so that it is judged by
    what surrounds it: in the whole frame and close around the object, mirrored as well, and the readings are averaged.

    CLIP gives every word of the vocabulary a probability in a region. The single likeliest word is a poor answer, since
    the probability of one kind of light is spread over its many names. So the words are chosen whose light is closest
    to what CLIP expects: the light of a word is what it does to a set of grey and coloured cards
    (`diffharmon.condition.light`), and the expectation is taken over all words, which makes it the choice of minimum
    expected squared error. An unsure reading thus gives mild words, and equal readings give equal words.

    Args:
        model: Folder or hub id of a CLIP model in transformers' layout; by default the one shipped with diffharmon.
        words: Upper bound on the words for each region, at most one of each list of the vocabulary; at most 3.
        contrast: Weight of the difference between the two regions' light, beside the light of each.
        background: Weight of the background's reading, in [0, 1]. A background's content biases it, and most photos
            were taken in neutral light; 1 weighs both regions alike, 0 takes the background for neutral.
        amplify: Factor on the expected light's distance from neutral. The light of a description's words adds up, but
            the expectation over single words averages it.
        min_difference: Smaller expected differences of light are ignored, by the same words for both regions: root
            mean square over the cards, on the scale [0, 1].
        context: Show the other region through a screen, as the CLIP shipped with diffharmon was trained to read it.
            Off hides it under grey, for a CLIP that has not.
        brightness: Always give a brightness word for both regions (the rule of the paper's prompt, section 3.1).
        temperature: Divides CLIP's similarities; more than 1 trusts the model less.
        objects: Names among which the foreground's is chosen; a single one is taken as it is.
        template: Prompt with ``{object}`` and ``{word}`` in their places.

    Raises:
        ModelError: The model cannot be found or loaded.
        InputError: A setting is out of range.
    """

    def __init__(
        self,
        model: str = EMBEDDED,
        words: Annotated[int, Ge(1), Le(3)] = 3,
        contrast: Annotated[float, Ge(0)] = 1.0,
        background: Annotated[float, Ge(0), Le(1)] = 1.0,
        amplify: Annotated[float, Gt(0)] = AMPLIFY,
        min_difference: Annotated[float, Ge(0)] = 0.0,
        context: bool = True,
        brightness: bool = False,
        temperature: Annotated[float, Gt(0)] = 1.0,
        objects: str | Sequence[str] = "object",
        template: str = "{object} {word}",
    ) -> None:
        self.objects = _names(objects)
        if not self.objects:
            raise ConfigError(f"objects: expected some names, got {objects!r}")
        if "{word}" not in template:
            raise ConfigError(f"template: got {template!r}, expected a prompt with {{word}} in it")
        self.contrast = contrast
        self.background = background
        self.amplify = amplify
        self.min_difference = min_difference
        self.choices = _choices(words, brightness)
        self.lights = cards_under(self.choices)
        self.reading = ClipReading(ClipEmbedder(model, "describer.model", HELP), context, temperature, template)

    def describe(self, composite: Composite, previous: Sequence[Attempt] = ()) -> Description:
        """Describe a composite by the best-fitting words that were not tried."""
        views = self.reading.embed(composite)
        name = self._name(views[:, 0])
        probabilities = self.reading.probabilities(views, self.reading.prompts(name))
        return words.choose(self.ranked(name, probabilities), previous)

    def ranked(self, name: str, probabilities: Float[Tensor, "2 54"]) -> list[Description]:
        """Return descriptions, the one of minimum expected squared error first."""
        target = expected_light(probabilities, self.background, self.amplify)
        if (target[0] - target[1]).square().mean().sqrt() < self.min_difference:
            target = target.mean(0, keepdim=True).expand(2, -1)
        errors = (self.lights - target[:, None]).square().mean(-1)
        count = min(_OPTIONS, len(self.choices))
        front, back = (side.topk(count, largest=False).indices for side in errors)
        apart = self.lights[front][:, None] - self.lights[back][None] - (target[0] - target[1])
        total = errors[0, front][:, None] + errors[1, back] + self.contrast * apart.square().mean(-1)
        return [
            Description(name, self.choices[front[place // count]], self.choices[back[place % count]], "clip")
            for place in total.flatten().argsort(stable=True).tolist()
        ]

    def _name(self, foreground: Float[Tensor, "v d"]) -> str:
        if len(self.objects) == 1:
            return self.objects[0]
        similarity = foreground.mean(0) @ self.reading.clip.embed_texts(self.objects).T
        return self.objects[int(similarity.argmax())]


def _names(objects: str | Sequence[str]) -> tuple[str, ...]:
    return words.split(objects, "describer.objects")


def _choices(count: int, brightness: bool) -> list[tuple[str, ...]]:
    """List all sets of up to ``count`` words that keep the rules of the vocabulary, brightness first."""
    sets = [choice for size in range(1, count + 1) for choice in combinations(WORDS, size)]
    sets = [choice for choice in sets if len({list_of(word) for word in choice}) == len(choice)]
    return [choice for choice in sets if not brightness or list_of(choice[0]) == "brightness"]
