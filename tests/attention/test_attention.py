import pytest
import torch
import torch.nn.functional as functional

from diffharmon.attention.processor import MapStore, RuleProcessor, grid
from diffharmon.attention.site import find_sites, rules_by_site
from diffharmon.types import AttentionRule, Site

REPLACE = (AttentionRule("cross", "replace"), AttentionRule("self", "replace"))


CANVAS = (16, 16)
TIME = torch.tensor(401)


@pytest.fixture
def inputs(backbone):
    torch.manual_seed(1)
    text = backbone.embed(["cat dim", "cat bright", "dog warm"])
    return torch.randn(3, 4, 16, 16), text


def predict(backbone, inputs, rules=(), sources=(), step=2):
    with torch.no_grad(), backbone.attention(rules, sources, steps=5) as store:
        store.step = step
        return backbone.predict(inputs[0], TIME, inputs[1])


def stock(backbone, inputs):
    with torch.no_grad():
        return backbone.predict(inputs[0], TIME, inputs[1])


def test_sites_are_numbered_by_kind_in_the_order_of_the_forward_pass(backbone):
    # diffusers lists the bottleneck after the decoder.
    sites = find_sites(backbone.network.attn_processors)
    for kind in ("self", "cross"):
        chosen = [site for site in sites if site.kind == kind]
        assert [site.place for site in chosen] == ["down"] * 2 + ["mid"] + ["up"] * 4
        assert [site.depth for site in chosen] == [number / 6 for number in range(7)]


def test_joint_sites_of_a_transformer_have_a_depth_and_no_place():
    names = [f"transformer_blocks.{number}.attn.processor" for number in range(3)]
    sites = find_sites([*names, "single_transformer_blocks.0.attn.processor"])
    assert [(site.kind, site.place) for site in sites] == [("joint", "")] * 4
    assert [site.depth for site in sites] == [0, 1 / 3, 2 / 3, 1]
    with pytest.raises(ValueError, match="joint attention"):
        RuleProcessor(sites[0], REPLACE, MapStore(steps=1))
    assert all(rules == REPLACE for rules in rules_by_site(sites, REPLACE).values())
    with pytest.raises(ValueError, match="this network has joint/anywhere"):
        rules_by_site(sites, [AttentionRule("cross", "replace", ("up",))])


def test_a_second_attention_beside_the_joint_one_is_of_the_image_alone():
    names = ["transformer_blocks.0.attn.processor", "transformer_blocks.0.attn2.processor"]
    assert [site.kind for site in find_sites(names)] == ["joint", "self"]
    assert [site.kind for site in find_sites([name.replace("attn.", "attn1.") for name in names])] == ["self", "cross"]


def test_a_rule_that_acts_at_no_step_is_refused(backbone):
    late = AttentionRule("self", "replace", end=0.8)
    with backbone.attention([late], (0, 0), steps=2):
        pass
    with pytest.raises(ValueError, match="acts at none of 1 steps"), backbone.attention([late], (0, 0), steps=1):
        pass


def test_a_name_of_another_form_is_refused():
    with pytest.raises(ValueError, match="conv_in"):
        find_sites(["conv_in.processor"])


def test_neutral_rules_equal_the_stock_processor(backbone, inputs):
    neutral = predict(backbone, inputs, (*REPLACE, AttentionRule("cross", "record")), sources=(0, 1, 2))
    torch.testing.assert_close(neutral, stock(backbone, inputs), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rule", REPLACE)
def test_replacing_changes_only_the_rows_it_names(backbone, inputs, rule):
    changed, before = predict(backbone, inputs, [rule], sources=(0, 0, 2)), stock(backbone, inputs)
    torch.testing.assert_close(changed[[0, 2]], before[[0, 2]], atol=1e-6, rtol=1e-5)
    assert (changed[1] - before[1]).abs().max() > 1e-4


def test_equal_texts_and_latents_give_equal_rows_under_replacement(backbone, inputs):
    latents, text = inputs[0][[0, 0]], inputs[1][0].expand(2)
    first, second = predict(backbone, (latents, text), REPLACE, sources=(0, 0))
    torch.testing.assert_close(first, second)


def test_gathering_queries_and_keys_is_copying_the_map():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 9, 4), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    site = Site("down_blocks.0.attn2", "cross", "down", 0.0)
    processor = RuleProcessor(site, [AttentionRule("cross", "replace")], MapStore(steps=1, sources=(0, 0)))
    map_of_first = (query[0] @ key[0].transpose(-1, -2) * 0.5).softmax(dim=-1)
    torch.testing.assert_close(processor.attend(query, key, value, 0.5)[1], map_of_first @ value[1])
    plain = functional.scaled_dot_product_attention(query, key, value, scale=0.5)
    torch.testing.assert_close(processor.attend(query, key, value, 0.5)[0], plain[0])


@pytest.mark.parametrize(("start", "end", "acting"), [(0.0, 1.0, range(5)), (0.4, 0.8, (2, 3)), (0.0, 0.2, (0,))])
def test_rules_act_between_their_fractions_of_the_steps(backbone, inputs, start, end, acting):
    rule = AttentionRule("self", "replace", start=start, end=end)
    for step in range(5):
        moved = predict(backbone, inputs, [rule], (0, 0, 2), step)[1] - stock(backbone, inputs)[1]
        assert (moved.abs().max() > 1e-4) == (step in acting)


def test_rules_act_only_at_their_places(backbone, inputs):
    whole = predict(backbone, inputs, [AttentionRule("self", "replace")], (0, 0, 2))
    up = predict(backbone, inputs, [AttentionRule("self", "replace", places=("up",))], (0, 0, 2))
    assert (whole - up).abs().max() > 1e-5


def test_rules_act_only_at_their_depths(backbone, inputs):
    def changed(depths):
        rule = AttentionRule("self", "replace", depths=depths)
        return predict(backbone, inputs, [rule], (0, 0, 2)) - stock(backbone, inputs)

    whole, first, rest = changed((0.0, 1.0)), changed((0.0, 0.0)), changed((0.01, 1.0))
    assert first[1].abs().max() > 1e-5
    assert rest[1].abs().max() > 1e-5
    assert (whole - first).abs().max() > 1e-5
    assert (whole - rest).abs().max() > 1e-5


def fail_unless_changed(backbone, before):
    now = backbone.network.attn_processors
    if any(now[name] is not before[name] for name in before):
        raise RuntimeError("planned")


def test_processors_are_the_same_objects_again_also_after_an_error(backbone):
    before = dict(backbone.network.attn_processors)
    with pytest.raises(RuntimeError, match="planned"), backbone.attention(REPLACE, (0, 0)):
        fail_unless_changed(backbone, before)
    after = backbone.network.attn_processors
    assert all(after[name] is before[name] for name in before)


def test_a_rule_that_matches_no_layer_is_refused(backbone):
    with (
        pytest.raises(ValueError, match="matches no layer"),
        backbone.attention([AttentionRule("cross", "record", depths=(2.0, 3.0))]),
    ):
        pass
    before = backbone.network.attn_processors
    assert not any(isinstance(processor, RuleProcessor) for processor in before.values())


def test_replacing_without_sources_is_refused(backbone):
    with pytest.raises(ValueError, match="source row"), backbone.attention(REPLACE):
        pass


def test_recorded_maps_are_probabilities_of_the_asked_resolution(backbone, inputs):
    for side in (16, 8):
        with torch.no_grad(), backbone.attention([AttentionRule("cross", "record", queries=side * side)]) as store:
            backbone.predict(inputs[0], TIME, inputs[1])
            maps = store.maps(CANVAS)
        assert maps.shape == (3, side, side, inputs[1].tokens.shape[1])
        torch.testing.assert_close(maps.sum(dim=-1), torch.ones(3, side, side))


def test_maps_of_a_canvas_that_is_not_square_have_its_aspect(backbone, inputs):
    with torch.no_grad(), backbone.attention([AttentionRule("cross", "record")]) as store:
        backbone.predict(torch.randn(3, 4, 24, 8), TIME, inputs[1])
        assert store.maps((24, 8), cells=48).shape[1:3] == (12, 4)
        assert store.maps((24, 8), cells=192).shape[1:3] == (24, 8)
    assert grid(6, (4, 6)) == (2, 3)
    with pytest.raises(ValueError, match="form no grid over 4 x 6"):
        grid(5, (4, 6))


def test_no_layer_of_the_asked_resolution_is_an_error_that_names_what_there_is(backbone, inputs):
    with torch.no_grad(), backbone.attention([AttentionRule("cross", "record", queries=7)]) as store:
        backbone.predict(inputs[0], TIME, inputs[1])
        with pytest.raises(ValueError, match="8 x 8, 16 x 16"):
            store.maps(CANVAS)


def test_a_new_call_overwrites_what_was_recorded(backbone, inputs):
    with torch.no_grad(), backbone.attention([AttentionRule("cross", "record")]) as store:
        backbone.predict(inputs[0], TIME, inputs[1])
        first = {name: maps.clone() for name, maps in store.recorded.items()}
        backbone.predict(inputs[0] * 2, TIME, inputs[1])
    assert first.keys() == store.recorded.keys()
    assert all(not torch.equal(first[name], store.recorded[name]) for name in first)


def test_gradients_reach_the_text_through_recorded_maps(backbone, inputs):
    text = inputs[1].detach()
    text.tokens.requires_grad_()
    with backbone.attention([AttentionRule("cross", "record", queries=64)]) as store:
        backbone.predict(inputs[0], TIME, text)
        (gradient,) = torch.autograd.grad(store.maps(CANVAS)[..., 1].sum(), [text.tokens])
    assert gradient.abs().max() > 0
