"""Reading the light of foreground and background with CLIP: probabilities of words, and the light that they expect."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from diffharmon.clip_model import ClipEmbedder
from diffharmon.condition.light import cards_under
from diffharmon.condition.vocabulary import VOCABULARY
from diffharmon.images.regions import close_up, hide
from diffharmon.types import Composite

WORDS: tuple[str, ...] = tuple(word for entries in VOCABULARY.values() for word in entries)
AMPLIFY = 1.45  # the light of a description's words adds up, but the expectation over single words averages it


class ClipReading:
    """Shows a CLIP one region after the other and asks which words of the vocabulary fit.

    A region is shown clearly and the rest through a grey screen (`diffharmon.images.regions`), so that it is judged by
    what surrounds it: in the whole frame and close around the object, mirrored as well, and the readings are averaged.

    Args:
        clip: The model.
        context: Show the other region through a screen; off hides it under grey.
        temperature: Divides CLIP's similarities; more than 1 trusts the model less.
        template: Prompt with ``{object}`` and ``{word}`` in their places.
    """

    def __init__(
        self, clip: ClipEmbedder, context: bool = True, temperature: float = 1.0, template: str = "{object} {word}"
    ) -> None:
        self.clip, self.context, self.temperature, self.template = clip, context, temperature, template

    def embed(self, composite: Composite, mirrored: bool = True) -> Float[Tensor, "v 2 d"]:
        """Embed foreground and background as unit vectors, in every view of the composite."""
        whole = torch.cat([composite.image, composite.mask.to(composite.image)])
        shown = []
        for view in (whole, close_up(whole, composite.mask)):
            for turned in (view, view.flip(-1)) if mirrored else (view,):
                shown += [self._show(turned, region) for region in (turned[3:], 1 - turned[3:])]
        return self.clip.embed_images(shown).unflatten(0, (-1, 2))

    def _show(self, view: Float[Tensor, "4 h w"], region: Float[Tensor, "1 h w"]) -> Float[Tensor, "3 s s"]:
        """Hide the rest before resizing, so that nothing of it is seen, or screen it after, so that pixels count."""
        image = view[:3] if self.context else hide(view[:3], region, False)
        layers = torch.cat([image, region])[None]
        small = functional.interpolate(layers, (self.clip.side,) * 2, mode="bilinear", antialias=True)[0].clamp(0, 1)
        return hide(small[:3], small[3:], True) if self.context else small[:3]

    def prompts(self, name: str) -> Float[Tensor, "54 d"]:
        """Embed the prompts of an object's name with every word, in the order of `WORDS`."""
        return self.clip.embed_texts(
            [self.template.replace("{object}", name).replace("{word}", word) for word in WORDS]
        )

    def probabilities(self, views: Float[Tensor, "v 2 d"], prompts: Float[Tensor, "54 d"]) -> Float[Tensor, "2 54"]:
        """Return the probability of every word in foreground and background."""
        logits = self.clip.scale * views @ prompts.to(views).T
        return (logits / self.temperature).softmax(dim=-1).mean(0).cpu()


def expected_light(
    probabilities: Float[Tensor, "2 54"], background: float = 1.0, amplify: float = AMPLIFY
) -> Float[Tensor, "2 30"]:
    """Return the light of foreground and background on cards, averaged over the words by their probability.

    Args:
        probabilities: Of every word of `WORDS`, in foreground and background.
        background: Weight of the background's reading; 0 takes the background for neutral.
        amplify: Factor on the expected light's distance from neutral.
    """
    neutral = cards_under([()])
    weights = torch.tensor([[1.0], [background]])
    return neutral + amplify * weights * (probabilities @ cards_under([(word,) for word in WORDS]) - neutral)
