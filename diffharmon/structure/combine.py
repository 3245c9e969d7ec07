"""Several structure parts as one guide."""

from collections.abc import Mapping

from diffharmon.errors import InputError
from diffharmon.protocols import StructurePreserver
from diffharmon.types import Composite, Loss, StructureGuidance


def combine(parts: Mapping[str, StructurePreserver], composite: Composite, size: int) -> StructureGuidance:
    """Measure the structure with every part and merge losses, rules and anchor, in the order of ``parts``.

    Raises:
        InputError: If two parts give a loss of the same name, or two give an anchor.
    """
    losses: dict[str, Loss] = {}
    givers: dict[str, str] = {}
    guides = {name: part.guide(composite, size) for name, part in parts.items()}
    for part, guide in guides.items():
        for name, loss in guide.losses.items():
            if name in losses:
                raise InputError(
                    f"structure parts {givers[name]!r} and {part!r} both give a loss named {name!r}; keep one"
                )
            losses[name] = loss
            givers[name] = part
    rules = tuple(rule for guide in guides.values() for rule in guide.rules)
    anchors = {name: guide.anchor for name, guide in guides.items() if guide.anchor is not None}
    if len(anchors) > 1:
        raise InputError(f"structure parts {sorted(anchors)} all give an anchor; keep one")
    return StructureGuidance(losses, rules, next(iter(anchors.values()), None))
