"""Published results: those that ship, and files of one's own."""

import pytest

from diffharmon.errors import InputError
from diffharmon.report.published import BAND_NAMES, COLUMNS, TEST_IMAGES, find_published, read_published

REFERENCE = "benchmark/reference_results.csv"


def test_the_published_results_of_iharmony4_ship_with_source_and_protocol():
    lines = read_published(find_published("iharmony4"))
    assert len(lines) == 227
    assert all(line.numbers and line.source and line.protocol for line in lines)
    composites = [line for line in lines if line.method.startswith("input composite") and line.subset == "HCOCO"]
    assert {(line.resolution, line.numbers["psnr"]) for line in composites} == {("256x256", 33.94), ("full", 33.543)}
    subsets = set(TEST_IMAGES) | set(BAND_NAMES.values())
    assert {line.subset for line in lines} <= subsets, "every line can stand beside some table"


def test_the_shipped_results_agree_with_the_collection(shared):
    keys = ("method", "subset", "resolution", "numbers")
    collected = [tuple(getattr(line, key) for key in keys) for line in read_published(shared / REFERENCE)]
    ours = [tuple(getattr(line, key) for key in keys) for line in read_published(find_published("iharmony4"))]
    assert all(line in collected for line in ours)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "column method, subset, .* is missing"),
        (f"{','.join(COLUMNS)}\nNetA,All,256x256,high,,,,x\n", "line 2: .*'high'"),
    ],
)
def test_a_published_table_that_cannot_be_used_is_refused(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_published(path)


def test_a_name_that_is_neither_a_file_nor_shipped_is_refused():
    with pytest.raises(
        InputError, match=r"--published iharmony5: no such file; expected a CSV file or one of iharmony4"
    ):
        find_published("iharmony5")
