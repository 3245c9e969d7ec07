"""Where an attention layer sits in a diffusers UNet, read from its processor's name."""

from collections.abc import Iterable

from diffharmon.types import AttentionRule, Site

KINDS = {"attn1": "self", "attn2": "cross"}
PLACES = {"down_blocks": "down", "mid_block": "mid", "up_blocks": "up"}


def parse_site(name: str) -> Site:
    """Read place and kind from a name such as ``down_blocks.0.attentions.1.transformer_blocks.0.attn2.processor``.

    Raises:
        ValueError: The name is not of that form.
    """
    parts = name.split(".")
    kinds = [KINDS[part] for part in parts if part in KINDS]
    if parts[0] not in PLACES or len(kinds) != 1:
        raise ValueError(f"attention processor name {name!r}: expected down/mid/up blocks with one of {sorted(KINDS)}")
    return Site(name, PLACES[parts[0]], kinds[0])


def rules_by_site(sites: Iterable[Site], rules: Iterable[AttentionRule]) -> dict[str, tuple[AttentionRule, ...]]:
    """Give each layer the rules that want it; layers that no rule wants are left out.

    Raises:
        ValueError: A rule wants a layer of a kind or place that the UNet does not have.
    """
    sites, rules = tuple(sites), tuple(rules)
    for rule in rules:
        if not any(rule.matches(site) for site in sites):
            found = sorted({f"{site.kind}/{site.place}" for site in sites})
            raise ValueError(f"attention rule {rule} matches no layer; this UNet has {', '.join(found)}")
    wanted = {site.name: tuple(rule for rule in rules if rule.matches(site)) for site in sites}
    return {name: chosen for name, chosen in wanted.items() if chosen}
