from dataclasses import replace

import numpy as np
import pytest

from diffharmon.errors import InputError
from diffharmon.reference.golden.cases import quirks_method, read_case
from diffharmon.reference.golden.check import check
from diffharmon.reference.golden.forced import forced_rows
from diffharmon.reference.golden.free import free_rows
from diffharmon.reference.golden.table import Row, largest, pixels, relative, render


@pytest.fixture(scope="module")
def golden(golden_folder):
    return golden_folder


@pytest.fixture(scope="module")
def case(golden):
    return read_case(golden / "girl128_noedge", golden)


@pytest.fixture
def method(golden, case):
    return quirks_method(golden / "pipeline", case, None)


def failed(rows):
    return {row.quantity.split(",")[0].split(" (")[0] for row in rows if not row.passed}


def test_a_whole_iteration_equals_the_public_code(method, case):
    rows = free_rows(method, case, 0, "free") + forced_rows(method, case, 0, "forced")
    assert len(rows) > 25
    assert not failed(rows)


@pytest.mark.slow
def test_the_second_iteration_from_the_golden_first_does_too(method, case):
    assert not failed(free_rows(method, case, 1, "free"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "attribute", "value", "moved"),
    [
        ("text", "mask_antialias", True, {"text_loss", "text_emb", "uncond_opt"}),
        ("text", "regularization", 0.0, {"text_emb", "p2p_latents"}),
        ("unconditional", "stale_first", False, {"uncond_opt", "uncond_latents"}),
        ("unconditional", "learning_rate", 0.05, {"uncond_opt", "p2p_latents"}),
    ],
)
def test_every_plausible_mistake_is_caught(method, case, part, attribute, value, moved):
    method.embedding[part] = replace(method.embedding[part], **{attribute: value})
    assert moved <= failed(free_rows(method, case, 0, "free"))


def test_leaving_out_an_attention_rule_is_caught(method, case):
    del method.structure["self_attention"]
    assert {"p2p_latents", "images", "blend"} <= failed(free_rows(method, case, 0, "free"))
    assert "forced: edit" in failed(forced_rows(method, case, 0, "forced"))


@pytest.mark.slow
def test_all_shared_cases_and_components_pass(golden):
    table, passed = check(golden / "pipeline", golden, [], None)
    assert passed, table


def test_a_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(InputError, match="found none"):
        check(tmp_path, tmp_path, [], None)
    with pytest.raises(InputError, match=r"case\.json"):
        check(tmp_path, tmp_path, ["nothing"], None)


def test_errors_are_measured_as_stated():
    golden = np.array([3.0, 4.0])
    assert relative(golden * 1.1, golden) == pytest.approx(0.1)
    assert largest(golden + np.array([0, 0.5]), golden) == 0.5
    assert relative(np.zeros(3), golden) == float("inf")
    rows = pixels(np.array([[0, 2]]), np.array([[0, 0]]), "case", "image")
    assert [row.error for row in rows] == [2.0, 0.5]
    assert not Row("case", "x", float("nan"), 1.0).passed
    assert "EXCEEDED" in render(rows)
