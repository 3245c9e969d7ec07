"""Several structure parts as one guidance."""

from collections.abc import Mapping

from diffharmon.protocols import StructurePreserver
from diffharmon.types import Composite, Loss, StructureGuidance


def combine(parts: Mapping[str, StructurePreserver], composite: Composite, size: tuple[int, int]) -> StructureGuidance:
    """Measure the structure with every part and merge losses and rules, in the order of ``parts``.

    The only loss of a part is named as the part is; several losses of one part are named ``part.loss``.
    """
    guides = {name: part.guide(composite, size) for name, part in parts.items()}
    losses: dict[str, Loss] = {}
    for part, guide in guides.items():
        single = len(guide.losses) == 1
        losses |= {part if single else f"{part}.{name}": loss for name, loss in guide.losses.items()}
    rules = tuple(rule for guide in guides.values() for rule in guide.rules)
    return StructureGuidance(losses, rules)
