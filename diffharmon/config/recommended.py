"""How a backbone and an evaluator are best used: what a model's own YAML file recommends to the other groups.

``backbone.recommended`` and ``evaluator.recommended`` describe the choice, not the object: they are no constructor
arguments. Other groups interpolate them, as ``method.guidance: ${backbone.recommended.guidance}`` does, so that one
place is overridden. A file lists what differs from the defaults below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

KEY = "recommended"


@dataclass
class BackboneUse:
    """How a diffusion model is best used; the defaults are the paper's, for Stable Diffusion.

    Attributes:
        steps: Sampling steps.
        fast_steps: Sampling steps of `experiment=fast`.
        guidance: Classifier-free guidance scale of the edit.
        inversion_guidance: Guidance of the inversion.
        target_correction: Fraction of direct inversion's correction that the edited branch receives too.
        attention_divisor: The backbone's size divided by this is the side of the attention maps that are fused.
        attention_places: Parts of a UNet whose attention maps are fused; None means all.
        calibrate: Whether the recomposer scales the edit to what the words name.
        threads: CPU threads; None leaves the choice to torch.
    """

    steps: Annotated[int, Ge(1), Le(1000)] = 50
    fast_steps: Annotated[int, Ge(1), Le(1000)] = 20
    guidance: Annotated[float, Ge(0), Le(1000)] = 2.5
    inversion_guidance: Annotated[float, Ge(0), Le(1000)] = 0.0
    target_correction: Annotated[float, Ge(0), Le(1)] = 0.0
    attention_divisor: Annotated[int, Ge(1)] = 32
    attention_places: Sequence[Literal["down", "mid", "up"]] | None = ("down", "up")
    calibrate: bool = False
    threads: Annotated[int, Ge(1), Le(1024)] | None = None


@dataclass
class EvaluatorUse:
    """How the loop uses an evaluator; the defaults are for one whose scores compare only within an image.

    Attributes:
        descriptions: Descriptions tried in the first iteration.
        skip_above: Score from which an untouched composite stays as it is; None always harmonizes.
        min_odds_gain: A composite stays as it is unless the result's odds are this many times its own; None for any.
        include_composite: Whether the untouched composite may be the result.
    """

    descriptions: Annotated[int, Ge(1)] = 1
    skip_above: float | None = None
    min_odds_gain: Annotated[float, Gt(0)] | None = None
    include_composite: bool = True


USES: dict[str, type] = {"backbone": BackboneUse, "evaluator": EvaluatorUse}
