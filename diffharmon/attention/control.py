"""Attention rules on a network for the length of a ``with`` block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from diffharmon.attention.joint import JointRuleProcessor
from diffharmon.attention.processor import MapStore, RuleProcessor
from diffharmon.attention.site import find_sites, rules_by_site
from diffharmon.types import AttentionRule

PROCESSORS: dict[str, type[RuleProcessor]] = {
    "self": RuleProcessor,
    "cross": RuleProcessor,
    "joint": JointRuleProcessor,
}


@contextmanager
def attention_control(
    network: Any, rules: Sequence[AttentionRule], steps: int, sources: Sequence[int] = (), text_tokens: int = 0
) -> Iterator[MapStore]:
    """Install rules on the attention layers that some rule wants; the former processor objects come back in any case.

    Args:
        network: A diffusers model with attention processors, such as ``UNet2DConditionModel``.
        rules: What to do where and when.
        steps: Number of sampling steps, which the rules' fractions refer to.
        sources: For each batch row the row whose queries and keys it takes under a ``replace`` rule.
        text_tokens: Number of text tokens before the image's, in layers that are given both as one sequence.

    Raises:
        ValueError: A rule matches no layer or none of the steps, or a ``replace`` rule comes without ``sources``.
    """
    if not sources and any(rule.action == "replace" for rule in rules):
        raise ValueError("a 'replace' attention rule needs the source row of every batch row, got none")
    for rule in rules:
        if rule.start < rule.end and not any(rule.active(step, steps) for step in range(steps)):
            raise ValueError(
                f"attention rule {rule} acts at none of {steps} steps; expected a wider range or more steps"
            )
    former = dict(network.attn_processors)
    sites = find_sites(former)
    chosen = rules_by_site(sites, rules)
    store = MapStore(steps=steps, sources=tuple(sources), rules=chosen, text_tokens=text_tokens)
    changed = {
        site.name: PROCESSORS[site.kind](site, chosen[site.name], store) if site.name in chosen else former[site.name]
        for site in sites
    }
    # diffusers empties the dict it is given, so both calls get a copy.
    network.set_attn_processor(dict(changed))
    try:
        yield store
    finally:
        network.set_attn_processor(dict(former))
