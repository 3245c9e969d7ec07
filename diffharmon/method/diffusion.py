"""The paper's method: one pass over an image, and the loop around it."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn

from diffharmon.embedding.word_weights import weighted_edits
from diffharmon.errors import DescriberError, InputError
from diffharmon.method.batch import Outcomes, in_lockstep
from diffharmon.method.canvas import Canvas, prepare
from diffharmon.method.checking import changes
from diffharmon.method.cost import Meter
from diffharmon.method.describing import SAME_WORDS, another, describe, several
from diffharmon.method.finite import FiniteGuard
from diffharmon.method.policy import Next, Policy, decide, stop
from diffharmon.method.start import Start
from diffharmon.method.tries import Tries
from diffharmon.method.variants import offer
from diffharmon.method.word_maps import WordView
from diffharmon.protocols import (
    Backbone,
    Describer,
    EmbeddingOptimizer,
    Evaluator,
    Recomposer,
    Sampler,
    StructurePreserver,
)
from diffharmon.types import (
    Attempt,
    Composite,
    Conditioning,
    Description,
    Edited,
    Guidance,
    Inversion,
    Observer,
    Outcome,
    Watcher,
    ignore,
)

NO_STRENGTH = "recomposer.strength=0 leaves the photo as it is"


class Diffusion(nn.Module):
    """Harmonizes with the prior of a diffusion model (paper section 3).

    Args:
        describer: Describes the light of foreground and background in words.
        backbone: The diffusion model.
        sampler: Inverts the image to noise and denoises the edit.
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
        variants: How many results to offer: the best, then those of other words, then other strengths of the best. More
            than one also harmonizes a composite that the policy would leave as it is.
        word_maps: Whether to see where each word of the result attends, one more pass of the network.
        kept: GiB of queries and keys kept of a source branch that is known before the edit, which then leaves it out.
        seed: Seeds all that is random; mixed with each image's name, so that results do not depend on the order of the
            images or the number of workers.
    """

    def __init__(
        self,
        describer: Describer,
        backbone: Backbone,
        sampler: Sampler,
        embedding: Mapping[str, EmbeddingOptimizer],
        structure: Mapping[str, StructurePreserver],
        recomposer: Recomposer,
        evaluator: Evaluator,
        policy: Policy,
        guidance: Annotated[float, Ge(0), Le(1000)] = 2.5,
        inversion_guidance: Annotated[float, Ge(0), Le(1000)] = 0.0,
        descriptions: Annotated[int, Ge(1)] = 1,
        words: Annotated[int, Ge(1)] | None = None,
        variants: Annotated[int, Ge(1), Le(8)] = 1,
        seed: Annotated[int, Ge(0)] = 0,
        word_maps: bool = True,
        kept: Annotated[float, Ge(0)] = 4.0,
    ) -> None:
        super().__init__()
        self.describer = describer
        self.backbone = backbone
        self.sampler = sampler
        sampler.schedule(backbone)  # Steps that the model does not have are refused here.
        self.embedding = dict(sorted(embedding.items()))  # ``text`` before ``unconditional``, however chosen
        self.structure = dict(structure)
        self.recomposer = recomposer
        self.evaluator = evaluator
        self.policy = policy
        self.guidance = Guidance(guidance)
        self.inversion_guidance = Guidance(inversion_guidance)
        self.descriptions = descriptions
        self.words = words
        self.variants = variants
        self.seed = seed
        self.word_maps = word_maps
        self.kept = kept

    @property
    def guard(self) -> FiniteGuard:
        """Refuses values that are not finite, in words that fit the backbone's precision."""
        return FiniteGuard(next(self.backbone.network.parameters()).dtype)

    @property
    def draws_random(self) -> bool:
        """Whether the seed can change a result: in the choice among descriptions, or in a part that draws its own."""
        policy = self.policy
        switches = policy.restarts > 0 and policy.iterations > policy.patience + 1 and policy.redescribe == "known"
        drawing = any(getattr(part, "draws_random", False) for part in (self.sampler, *self.embedding.values()))
        return (switches and self.descriptions > 2) or drawing or getattr(self.describer, "seed", None) is not None

    def harmonize(self, composite: Composite, observe: Observer) -> Outcome:
        """Run the loop of the paper's section 3.3 over one composite; its only decisions are the policy's.

        Where the same words describe both sides, or the recomposer has no strength, the composite is the result and no
        diffusion runs.

        Raises:
            InputError: The description has no condition words, or the mask is empty at the backbone's size.
            DescriberError: The describer gave nothing usable.
        """
        canvas = self.canvas(composite)
        meter = Meter.of(self.backbone, self.guard.watch(observe))
        untouched, descriptions = self.begin(canvas, meter)
        if not descriptions:
            return Outcome(untouched, (untouched,), SAME_WORDS, meter.costs)
        if getattr(self.recomposer, "strength", 1) == 0:
            return Outcome(untouched, (untouched,), NO_STRENGTH, meter.costs)
        attempts = [untouched]
        wanted = descriptions[0].user_provided or self.variants > 1
        policy = replace(self.policy, skip_above=None, min_odds_gain=None) if wanted else self.policy
        chooser = random.Random(self.image_seed(composite.name))
        tries = Tries(self, canvas, meter)
        while isinstance(move := decide(attempts, descriptions, policy, chooser.choice), Next):
            description = move.description
            if description is None:
                try:
                    description = another(self.describe(canvas.original, attempts, meter), descriptions)
                except (DescriberError, InputError) as error:
                    move = stop(attempts, policy, f"no other description: {error}")
                    break
                descriptions.append(description)
            current, number = attempts[move.start].image, len(attempts) - 1
            attempts.append(tries.attempt(current, description, move.iteration, number, descriptions))
        if self.word_maps and (view := tries.views.get(attempts[move.best].number)) is not None:
            with meter.stage("words"):
                attempts[move.best] = replace(attempts[move.best], words=view.maps(self.backbone))
        outcome = Outcome(attempts[move.best], tuple(attempts), move.reason, meter.costs)
        return offer(outcome, self.variants, canvas.target, canvas.evaluator)

    def harmonize_batch(self, composites: Sequence[Composite], observers: Sequence[Observer]) -> Outcomes:
        """Harmonize each composite as ``harmonize`` does, in lockstep; an exception takes the place of its outcome."""
        return in_lockstep(self, composites, observers)

    def canvas(self, composite: Composite) -> Canvas:
        """Remove the ground truth and make the masks."""
        size = self.backbone.canvas_size(*composite.image.shape[-2:])
        return prepare(composite.blind(), size, self.backbone.cell, self.evaluator)

    def begin(self, canvas: Canvas, watch: Watcher) -> tuple[Attempt, list[Description]]:
        """Score the untouched composite and collect the first descriptions: all different, each with a change to make.

        No description is left where the same words describe both sides.
        """
        first = self.describe(canvas.original, [], watch)
        with watch.stage("evaluate"):
            score = canvas.evaluator.score(canvas.target.image, canvas.target.mask, first)
        untouched = Attempt(-1, canvas.target.image, score, first, number=-1)
        known = several(first, self.descriptions, untouched, lambda tried: self.describe(canvas.original, tried, watch))
        return untouched, [description for description in known if changes(description)]

    def describe(self, composite: Composite, previous: Sequence[Attempt], watch: Watcher) -> Description:
        """Ask the describer and refuse a description without condition words."""
        return describe(self.describer, self.words, composite, previous, watch)

    @torch.no_grad()
    def attempt(
        self,
        canvas: Canvas,
        current: Float[Tensor, "3 h w"],
        description: Description,
        iteration: int = 0,
        number: int = 0,
        watch: Watcher = ignore,
        start: Start | None = None,
    ) -> Attempt:
        """Harmonize once: the straight line describe, invert, refine, edit, recompose, score (paper figure 2).

        Args:
            canvas: The photo and its masks; the background always comes from here.
            current: The image this iteration starts from: the target's own, or an earlier result.
            description: The conditions in words.
            iteration: Counts from 0.
            number: Counts the attempts on this image from 0.
            watch: Receives every step and surrounds every stage.
            start: What other attempts from the same image found; receives what this one finds.
        """
        start = start or Start.of(current, self.backbone, self.kept)
        backbone = start.backbone
        start.prepare(self, canvas, watch)
        with watch.stage("inversion"):
            conditioning = self.condition(description)
            inversion = self.invert(canvas, conditioning, start, watch)
        for name, optimizer in self.embedding.items():
            with watch.stage(name), start.keeping(conditioning):
                conditioning = optimizer.refine(backbone, inversion, conditioning, watch)
        with watch.stage("edit"):
            start.view = WordView.of(inversion.trajectory, conditioning)
            edited = self.edit(inversion, conditioning, watch, backbone)
        with watch.stage("recompose"):
            result = self.guard.require("recompose", self.recomposer.recompose(canvas.target, current, edited))
        with watch.stage("evaluate"):
            score = canvas.evaluator.score(result, canvas.target.mask, description)
            self.guard.require("evaluate", torch.tensor(score.value))
        return Attempt(iteration, result, score, description, edited, number=number)

    def invert(self, canvas: Canvas, conditioning: Conditioning, start: Start, watch: Watcher = ignore) -> Inversion:
        """Invert the image that an attempt starts from, which is prepared."""
        assert start.image is not None
        assert start.latent is not None
        with start.keeping_inversion(conditioning, self.sampler.schedule(self.backbone)):
            trajectory = self.sampler.invert(start.backbone, start.latent, conditioning, self.inversion_guidance, watch)
        return Inversion(start.image, canvas.mask, canvas.latent_mask, trajectory, start.structure)

    def condition(self, description: Description) -> Conditioning:
        """Embed both prompts and the empty one, the same for every step."""
        prompts = [description.foreground_prompt, description.background_prompt, ""]
        edits = (*weighted_edits(self.backbone, description), None)
        steps = len(self.sampler.schedule(self.backbone).timesteps)
        foreground, background, unconditional = (text.expand(steps) for text in self.backbone.embed(prompts, edits))
        return Conditioning(foreground, background, unconditional, description, self.backbone.words(description))

    def encode(self, image: Float[Tensor, "3 h w"], name: str) -> Float[Tensor, "1 c y x"]:
        """Encode the image of that name: the mode of the autoencoder's posterior."""
        return self.backbone.encode(image[None])

    def structure_source(self, canvas: Canvas, seen: Composite) -> Composite:
        """Return the image whose structure is kept: the photo's, not that of an earlier result, which would drift.

        Args:
            canvas: The photo.
            seen: The photo with the image that this iteration starts from.
        """
        return canvas.original

    def edit(
        self,
        inversion: Inversion,
        conditioning: Conditioning,
        observe: Observer = ignore,
        backbone: Backbone | None = None,
    ) -> Edited:
        """Replace the foreground's condition by the background's under the attention rules, and decode."""
        trajectory, rules = inversion.trajectory, inversion.structure.rules
        backbone = backbone or self.backbone
        latents = self.sampler.edit(backbone, trajectory, conditioning, self.guidance, rules, observe)
        read = latents if self.decodes_source else latents[1:]
        *source, edited = self.decode(read, backbone)
        return Edited(source[0] if source else None, edited, inversion.image, conditioning.description)

    @property
    def decodes_source(self) -> bool:
        """Whether somebody looks at the source branch's picture."""
        return getattr(self.recomposer, "reads_source", True)

    def decode(self, latents: Float[Tensor, "b c y x"], backbone: Backbone | None = None) -> Float[Tensor, "b 3 h w"]:
        """Decode the edit's branches to [0, 1]."""
        return self.guard.require("decode", (backbone or self.backbone).decode(latents)).clamp(0, 1)

    def image_seed(self, name: str) -> int:
        """The seed of an image: independent of rank and order."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{name}".encode()).digest()[:4], "big")
