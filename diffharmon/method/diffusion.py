"""The paper's method: one pass over an image, and the loop around it."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diffharmon import images
from diffharmon.cost import Meter
from diffharmon.errors import DescriberError, InputError
from diffharmon.evaluator.policy import Policy, Redescribe, Stop, Trial, decide
from diffharmon.method.canvas import Canvas, prepare
from diffharmon.protocols import (
    Backbone,
    Describer,
    EmbeddingOptimizer,
    Evaluator,
    Recomposer,
    StructurePreserver,
)
from diffharmon.sampling import edit, edit_rows, invert
from diffharmon.structure.combine import combine
from diffharmon.types import (
    Attempt,
    AttentionRule,
    Composite,
    Conditioning,
    Description,
    Edited,
    Inversion,
    Observer,
    Outcome,
    Trajectory,
)


class Diffusion(nn.Module):
    """Harmonizes with the prior of a diffusion model (paper section 3).

    Args:
        describer: Says what the light of foreground and background is like.
        backbone: The diffusion model.
        embedding: Optimizers of the text conditioning by slot: ``text`` is applied before ``unconditional``, whose
            optimization starts from the refined prompts.
        structure: Parts that keep the structure, by name.
        recomposer: Puts the edited foreground back into the photo.
        evaluator: Scores every result.
        policy: Decides whether to go on, switch the description or stop.
        guidance: Classifier-free guidance scale of the edit.
        inversion_guidance: Guidance of the inversion; 0 inverts without text, as the paper does, 1 by the foreground
            prompt.
        descriptions: How many descriptions are tried in the first iteration; the best goes on.
        words: Use only the first this many condition words on each side; null uses all.
        structure_from: The structure to keep is the ``composite``'s, or that of the image each iteration starts from
            (``current``, as in the public code, where it drifts).
        resolution: ``full`` recomposes at the photo's own size; ``model`` squashes everything to the backbone's square
            first, as the public code does.
        sample_posterior: Sample the autoencoder's posterior instead of taking its mode (quirk Q7).
        truncate: Cut decoded images to 8 bits downwards, as the public code does (quirk Q22).
        seed: Seeds all that is random.
        seed_by_name: Mix the image's name into the seed, so that results do not depend on order or number of workers;
            off gives every image the same noise, as the public code does.
    """

    def __init__(
        self,
        describer: Describer,
        backbone: Backbone,
        embedding: Mapping[str, EmbeddingOptimizer],
        structure: Mapping[str, StructurePreserver],
        recomposer: Recomposer,
        evaluator: Evaluator,
        policy: Policy,
        guidance: float = 2.5,
        inversion_guidance: float = 0.0,
        descriptions: int = 1,
        words: int | None = None,
        structure_from: Literal["composite", "current"] = "composite",
        resolution: Literal["full", "model"] = "full",
        sample_posterior: bool = False,
        truncate: bool = False,
        seed: int = 0,
        seed_by_name: bool = True,
    ) -> None:
        super().__init__()
        self.describer = describer
        self.backbone = backbone
        self.embedding = dict(sorted(embedding.items()))  # ``text`` before ``unconditional``, however chosen
        self.structure = dict(structure)
        self.recomposer = recomposer
        self.evaluator = evaluator
        self.policy = policy
        self.guidance = guidance
        self.inversion_guidance = inversion_guidance
        self.descriptions = descriptions
        self.words = words
        self.structure_from = structure_from
        self.resolution = resolution
        self.sample_posterior = sample_posterior
        self.truncate = truncate
        self.seed = seed
        self.seed_by_name = seed_by_name

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Run the loop of the paper's section 3.3 over one composite; its only decisions are the policy's.

        Raises:
            InputError: The description has no condition words, or the mask is empty at the backbone's size.
            DescriberError: The describer gave nothing usable.
        """
        canvas = self.canvas(composite)
        meter = Meter(self.backbone.unet, self.backbone.device)
        attempts, descriptions = self.begin(canvas, meter)
        policy = replace(self.policy, skip_above=None) if descriptions[0].user_provided else self.policy
        chooser = random.Random(self.image_seed(composite.name))
        while True:
            history = [
                Trial(
                    attempt.iteration,
                    -1 if attempt.iteration < 0 else descriptions.index(attempt.description),
                    attempt.score.value,
                )
                for attempt in attempts
            ]
            move = decide(history, len(descriptions), policy, chooser.choice)
            if isinstance(move, Stop):
                return Outcome(attempts[move.best], tuple(attempts), move.reason, meter.costs)
            number = move.description
            if number is None:
                try:
                    descriptions.append(self.describe(canvas.original, attempts, meter))
                except DescriberError as error:
                    # What is finished counts: the loop ends as it would without another description.
                    last = decide(history, len(descriptions), replace(policy, restarts=0), chooser.choice)
                    best = last.best if isinstance(last, Stop) else 0
                    return Outcome(attempts[best], tuple(attempts), f"no other description: {error}", meter.costs)
                number = len(descriptions) - 1
            start = attempts[move.start]
            iteration = attempts[-1].iteration + 1 if isinstance(move, Redescribe) else start.iteration + 1
            attempts.append(self.attempt(canvas, start.image, descriptions[number], iteration, meter, observe))

    def canvas(self, composite: Composite) -> Canvas:
        """Take the ground truth away and make the masks."""
        return prepare(
            composite.blind(), self.backbone.size, self.backbone.latent_size, squashed=self.resolution == "model"
        )

    def begin(self, canvas: Canvas, meter: Meter) -> tuple[list[Attempt], list[Description]]:
        """Score the untouched composite and collect the first descriptions, all different."""
        descriptions = [self.describe(canvas.original, [], meter)]
        with meter.stage("evaluate"):
            score = self.evaluator.score(canvas.target.image, canvas.target.mask, descriptions[0])
        attempts = [Attempt(-1, canvas.target.image, score, descriptions[0])]
        while len(descriptions) < self.descriptions:
            tried = [replace(attempts[0], description=known) for known in descriptions]
            another = self.describe(canvas.original, tried, meter)
            if another in descriptions:
                break
            descriptions.append(another)
        return attempts, descriptions

    def describe(self, composite: Composite, previous: Sequence[Attempt], meter: Meter) -> Description:
        """Ask the describer and refuse a description without condition words."""
        with meter.stage("describe"):
            description = self.describer.describe(composite, previous)
        if self.words is not None:
            foreground, background = description.foreground[: self.words], description.background[: self.words]
            description = replace(description, foreground=foreground, background=background)
        check_description(description)
        return description

    @torch.no_grad()
    def attempt(
        self,
        canvas: Canvas,
        current: Float[Tensor, "3 h w"],
        description: Description,
        iteration: int,
        meter: Meter,
        observe: Observer,
    ) -> Attempt:
        """Harmonize once: the straight line describe, invert, refine, edit, recompose, score (paper figure 2).

        Args:
            canvas: The photo and its masks; the background always comes from here.
            current: The image this iteration starts from: the target's own, or an earlier result.
            description: The conditions in words.
            iteration: Counts from 0.
            meter: Adds up the costs by stage.
            observe: Sees every step.
        """
        seen = canvas.seen_from(current)
        with meter.stage("inversion"):
            image = images.resize(seen.image, (self.backbone.size, self.backbone.size), "lanczos", seen.alpha)
            conditioning = self.condition(description)
            latent = self.backbone.encode(image[None], self.generator(canvas.original.name))
            trajectory = invert(self.backbone, latent, conditioning, self.inversion_guidance, observe)
        with meter.stage("structure"):
            kept = canvas.original if self.structure_from == "composite" else seen
            guide = combine(self.structure, kept, self.backbone.size)
            inversion = Inversion(image, canvas.mask, canvas.latent_mask, trajectory, guide)
        for name, optimizer in self.embedding.items():
            with meter.stage(name):
                conditioning = optimizer.refine(self.backbone, inversion, conditioning, observe)
        with meter.stage("edit"):
            edited = self.edit(inversion, conditioning, observe)
            words = self.word_maps(trajectory, conditioning)
        with meter.stage("recompose"):
            result = self.recomposer.recompose(canvas.target, current, edited)
        with meter.stage("evaluate"):
            score = self.evaluator.score(result, canvas.target.mask, description)
        return Attempt(iteration, result, score, description, edited, words)

    def condition(self, description: Description) -> Conditioning:
        """Embed both prompts and the empty one, the same for every step."""
        prompts = [description.foreground_prompt, description.background_prompt, ""]
        steps = len(self.backbone.timesteps)
        foreground, background, unconditional = (
            text.expand(steps, -1, -1) for text in self.backbone.embed(prompts)[:, None]
        )
        return Conditioning(foreground, background, unconditional, description, self.backbone.words(description))

    def edit(self, inversion: Inversion, conditioning: Conditioning, observe: Observer) -> Edited:
        """Replace the foreground's condition by the background's under the guide's attention rules, and decode."""
        guide = inversion.structure
        with self.backbone.attention(guide.rules, edit_rows(self.guidance)) as store:
            latents = edit(
                self.backbone, inversion.trajectory, conditioning, self.guidance, store, guide.anchor, observe
            )
        decoded = self.backbone.decode(latents).clamp(0, 1)
        if self.truncate:
            decoded = (decoded * 255).floor() / 255
        return Edited(decoded[0], decoded[1], inversion.image, conditioning.description)

    def word_maps(self, trajectory: Trajectory, conditioning: Conditioning) -> dict[str, Float[Tensor, "r r"]]:
        """Where each word of both prompts attends halfway through the sampling: mean over heads and layers."""
        step = len(conditioning.foreground) // 2
        text = torch.stack([conditioning.foreground[step], conditioning.background[step]])
        latents = trajectory.latents[step].expand(2, -1, -1, -1)
        with self.backbone.attention([AttentionRule("cross", "record")]) as store:
            store.step = step
            self.backbone.predict(latents, step, text)
            maps = store.maps()
        side = round(maps.shape[1] ** 0.5)
        spans = {"foreground": conditioning.words.foreground, "background": conditioning.words.background}
        return {
            f"{part} {word}": maps[row][:, list(positions)].sum(dim=1).view(side, side)
            for row, (part, words) in enumerate(spans.items())
            for word, positions in words.items()
        }

    def generator(self, name: str) -> torch.Generator | None:
        """Noise of the autoencoder's posterior, the same for every iteration of an image; None takes the mode."""
        return torch.Generator().manual_seed(self.image_seed(name)) if self.sample_posterior else None

    def image_seed(self, name: str) -> int:
        """The seed of an image: never a matter of rank or order."""
        if not self.seed_by_name:
            return self.seed
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:4], "big")


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
