"""Attention rules on a network for the length of a ``with`` block."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

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
    chosen = rules_by_site(find_sites(attention_layers(network)), rules)
    store = MapStore(steps=steps, sources=tuple(sources), rules=chosen, text_tokens=text_tokens)
    with installed(network, [store]):
        yield store


@contextmanager
def installed(network: Any, stores: Sequence[MapStore]) -> Iterator[None]:
    """Install the rules of stores inside a ``with``, later ones over earlier ones at the layers that both name."""
    layers = attention_layers(network)
    wanted: dict[str, RuleProcessor] = {}
    for site in find_sites(layers):
        for store in stores:
            if site.name in store.rules:
                wanted[site.name] = PROCESSORS[site.kind](site, store.rules[site.name], store)
    former = {name: layers[name].get_processor() for name in wanted}
    try:
        for name, processor in wanted.items():
            layers[name].set_processor(processor)
        yield
    finally:
        for name, processor in former.items():
            layers[name].set_processor(processor)


def attention_layers(network: nn.Module) -> dict[str, Any]:
    """Return the attention layers by the name of their processor, which `attn_processors` gives them too.

    Setting them one by one takes a tenth of the time of ``set_attn_processor``, which walks all modules several times.
    """
    found = network.named_modules()
    return {f"{name}.processor": module for name, module in found if hasattr(type(module), "set_processor")}
