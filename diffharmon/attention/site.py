"""Where the attention layers of a diffusers network sit, read from their processors' names."""

from collections import Counter
from collections.abc import Iterable, Mapping

from diffharmon.types import AttentionRule, Site

KINDS = {"attn1": "self", "attn2": "cross", "attn": "joint"}
# Beside joint attention, ``attn2`` is a second one of the image alone (Stable Diffusion 3.5 medium).
KINDS_BESIDE_JOINT = {**KINDS, "attn2": "self"}
# In the order of the forward pass. Transformers without a bottleneck have no places, only depth.
PLACES = {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}
BLOCKS = (*PLACES, "transformer_blocks", "single_transformer_blocks")


def find_sites(names: Iterable[str]) -> tuple[Site, ...]:
    """Read the attention layers from processor names, in the order of the forward pass.

    Depth counts the layers of one kind: 0 is the first of them, 1 the last.

    Args:
        names: Such as ``down_blocks.0.attentions.1.transformer_blocks.0.attn2.processor``; numbers ascend within a
            block.

    Raises:
        ValueError: A name is not of that form.
    """
    names = list(names)
    kinds = KINDS_BESIDE_JOINT if any("attn" in name.split(".") for name in names) else KINDS
    layers = sorted(((_parse(name, kinds), name) for name in names), key=lambda layer: layer[0][0])
    totals, passed = Counter(kind for (_, kind), _ in layers), Counter[str]()
    sites = []
    for (block, kind), name in layers:
        depth = passed[kind] / max(totals[kind] - 1, 1)
        passed[kind] += 1
        sites.append(Site(name, kind, PLACES.get(BLOCKS[block], ""), depth))
    return tuple(sites)


def _parse(name: str, known: Mapping[str, str]) -> tuple[int, str]:
    """Return the block's place in the forward pass and the kind of attention."""
    parts = name.split(".")
    kinds = [known[part] for part in parts if part in known]
    if parts[0] not in BLOCKS or len(kinds) != 1:
        raise ValueError(
            f"attention processor name {name!r}: expected one of {', '.join(BLOCKS)} first, and one of "
            f"{', '.join(KINDS)} after it"
        )
    return BLOCKS.index(parts[0]), kinds[0]


def rules_by_site(sites: Iterable[Site], rules: Iterable[AttentionRule]) -> dict[str, tuple[AttentionRule, ...]]:
    """Give each layer the rules that select it; layers that no rule selects are left out.

    Raises:
        ValueError: A rule selects no layer of the network.
    """
    sites, rules = tuple(sites), tuple(rules)
    for rule in rules:
        if not any(rule.matches(site) for site in sites):
            found = sorted({f"{site.kind}/{site.place or 'anywhere'}" for site in sites})
            raise ValueError(f"attention rule {rule} matches no layer; this network has {', '.join(found)}")
    chosen = {site.name: tuple(rule for rule in rules if rule.matches(site)) for site in sites}
    return {name: matching for name, matching in chosen.items() if matching}
