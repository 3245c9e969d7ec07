"""Harmony as agreement with words, measured by CLIP (Radford et al., arXiv 2103.00020)."""

from typing import Annotated

from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from diffharmon.clip_model import EMBEDDED, ClipEmbedder
from diffharmon.errors import ConfigError
from diffharmon.images.regions import look_at
from diffharmon.types import Description, Score

HELP = "The default, the model shipped with diffharmon, works offline without any download."


class Clip:
    """Cosine similarity of the foreground's surroundings to the background's words, less that to the foreground's.

    The image is cropped to a square around the object, so that the object counts. The difference is positive where
    the image looks more like ``object background-words`` than like ``object foreground-words``.

    Args:
        model: Folder or hub id of a CLIP model in transformers' layout; by default the one shipped with diffharmon.
        margin: Surroundings shown on each side of the object, as a fraction of its longer side.
        context: Show what surrounds the object through a screen, as the shipped CLIP was trained to read it;
            off shows the photo as it is, for a CLIP that has not.
        template: Sentence around the words, with ``{}`` in their place.
        against_foreground: Subtract the similarity to the foreground's words; otherwise only the background's count.

    Raises:
        ModelError: If it cannot be found or loaded.
        InputError: If ``margin`` is negative or ``template`` lacks its place.
    """

    def __init__(
        self,
        model: str = EMBEDDED,
        margin: Annotated[float, Ge(0)] = 0.5,
        context: bool = True,
        template: str = "{}",
        against_foreground: bool = True,
    ) -> None:
        if "{}" not in template:
            raise ConfigError(f"template: got {template!r}, expected a text with {{}} where the words go")
        self.margin = margin
        self.context = context
        self.template = template
        self.against_foreground = against_foreground
        self.clip = ClipEmbedder(model, "evaluator.model", HELP)

    def score(self, image: Float[Tensor, "3 h w"], mask: Float[Tensor, "1 h w"], description: Description) -> Score:
        """Return the difference in [-2, 2], with both cosine similarities as terms."""
        shown = look_at(image, mask, self.margin, self.clip.side if self.context else None)
        (image_embedding,) = self.clip.embed_images([shown])
        prompts = [description.background_prompt, description.foreground_prompt]
        texts = self.clip.embed_texts([self.template.replace("{}", prompt) for prompt in prompts])
        background, foreground = (texts @ image_embedding).tolist()
        value = background - foreground if self.against_foreground else background
        return Score(value, {"background": background, "foreground": foreground})
