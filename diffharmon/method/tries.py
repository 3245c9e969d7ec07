"""The attempts on one image, and its descriptions tried side by side where the backbone shares calls."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from diffharmon.method.batch import on
from diffharmon.method.canvas import Canvas
from diffharmon.method.cost import Meter
from diffharmon.method.start import Start
from diffharmon.method.word_maps import WordView
from diffharmon.types import Attempt, Cost, Description

Tried = tuple[Attempt, WordView | None]


class Tries:
    """Makes the attempts on one image; one lives as long as the image is worked on.

    Args:
        method: Whose ``attempt`` makes one.
        canvas: The photo.
        meter: Measures them.

    Attributes:
        views: What the words of each attempt are seen with, by its number.
    """

    def __init__(self, method: Any, canvas: Canvas, meter: Meter) -> None:
        self.method, self.canvas, self.meter = method, canvas, meter
        self.start = Start.of(canvas.target.image, method.backbone, method.kept)
        self.views: dict[int, WordView | None] = {}
        self.ahead: Sequence[Tried] = ()

    def attempt(
        self,
        current: Float[Tensor, "3 h w"],
        description: Description,
        iteration: int,
        number: int,
        descriptions: Sequence[Description],
    ) -> Attempt:
        """Make one attempt; the first makes those with the other descriptions of the first iteration too, if it can.

        Args:
            current: The image that it starts from.
            description: The words.
            iteration: Counts from 0.
            number: Counts the attempts from 0.
            descriptions: All that the first iteration tries, in their order.
        """
        if current is not self.start.current:
            self.start = Start.of(current, self.method.backbone, self.method.kept)
        if number == 0:
            self.ahead = try_together(self.method, self.canvas, descriptions, self.meter, self.start)
        if number < len(self.ahead):
            tried, self.views[number] = self.ahead[number]
            return tried
        tried = self.method.attempt(self.canvas, current, description, iteration, number, self.meter, self.start)
        self.views[number] = self.start.view
        return tried


def try_together(
    method: Any, canvas: Canvas, descriptions: Sequence[Description], meter: Meter, start: Start
) -> Sequence[Tried]:
    """Try all descriptions of the first iteration at once; nothing where there is one, or the backbone knows no lanes.

    What does not depend on the description is done once before: structure, encoding, and an inversion without text or
    under words that all have in common.

    Args:
        method: Whose ``attempt`` tries a description.
        canvas: The photo.
        descriptions: What to try.
        meter: Receives the costs.
        start: The image that all attempts start from.

    Raises:
        Exception: Whatever went wrong with the first description with which something did.
    """
    fork = getattr(method.backbone, "fork", None)
    if fork is None or len(descriptions) < 2:
        return ()
    start.prepare(method, canvas, meter)
    sources = {(known.object, *known.foreground_weighted.items()) for known in descriptions}
    if method.inversion_guidance.scale == 0 or len(sources) == 1:
        with meter.stage("inversion"):
            method.invert(canvas, method.condition(descriptions[0]), start, meter)

    def work(number: int, description: Description) -> Callable[[Any], Any]:
        def attempt(backbone: Any) -> Any:
            own = Meter.of(backbone, backbone.lane.follow(method.guard.watch(lambda event: None)))
            begun = start.beside(backbone, method.kept)
            try:
                tried = on(method, backbone).attempt(canvas, start.current, description, 0, number, own, begun)
            except Exception as error:
                return error, backbone.lane.stage, own.costs
            return tried, begun.view, own.costs

        return attempt

    found = fork([work(number, description) for number, description in enumerate(descriptions)])
    for result in found:
        if isinstance(result, Exception):
            raise result
        for stage, cost in result[2].items():
            meter.costs[stage] = meter.costs.get(stage, Cost()) + cost
    for tried, place, _ in found:
        if isinstance(tried, Exception):
            with meter.stage(place):
                raise tried
    return [(tried, view) for tried, view, _ in found]
