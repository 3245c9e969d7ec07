"""Runs measured under several protocols: a table for each, and all beside each other."""

from diffharmon.metrics import PixelMetrics
from diffharmon.report.content import make_content
from diffharmon.report.resolutions import resolution_grid
from diffharmon.report.runs import UNCHANGED, collect


def test_protocols_never_share_a_table(tmp_path, make_row, write_run):
    write_run(tmp_path / "a", [make_row(0, 1.0)])
    write_run(tmp_path / "b", [make_row(0, 2.0)], metrics={"full": PixelMetrics()})
    content = make_content(collect([tmp_path]))
    assert [section.metrics for section in content.sections] == [("ihd256",), ("full",)]
    assert all(len(section.runs) == 2 for section in content.sections), "each with its own unchanged composite"


def test_several_protocols_of_one_run_get_a_table_each_and_join_the_runs_of_theirs(tmp_path, make_row, write_run):
    """The numbers of ``full`` are plain in one run and prefixed in the other, and still stand side by side."""
    both = {"ihd256": PixelMetrics(size=256), "full": PixelMetrics()}
    rows = [{**make_row(i, 1.0), "full_psnr": 40.0 + i, "composite_full_psnr": 30.0} for i in range(3)]
    write_run(tmp_path / "a", rows, ["method=a"], metrics=both)
    alone = [{**make_row(i, 1.0), "psnr": 50.0 + i, "composite_psnr": 30.0} for i in range(3)]
    write_run(tmp_path / "b", alone, ["method=b"], metrics={"full": PixelMetrics()})
    small, full = make_content(collect([tmp_path])).sections
    assert [run.label for run in small.runs] == ["unchanged composite", "method=a"]
    assert [run.label for run in full.runs] == ["unchanged composite", "method=a", "method=b"]
    means = {line.run: line.estimates["psnr"].mean for line in full.tables[0].lines}
    assert means == {"unchanged composite": 30.0, "method=a": 41.0, "method=b": 51.0}
    assert {line.run: line.comparisons["psnr"].gain.mean for line in full.tables[0].lines[1:]} == {
        "method=a": 11.0,
        "method=b": 21.0,
    }
    assert small.tables[0].lines[1].estimates["psnr"].mean < 40, "the other protocol's own number"


def test_three_protocols_stand_side_by_side(tmp_path, make_row, write_run):
    metrics = {"ihd256": PixelMetrics(size=256), "ihd512": PixelMetrics(size=512), "full": PixelMetrics()}
    rows = []
    for index in range(3):
        row = make_row(index, 1.0)
        rows.append({**row, **{f"{name}_{key}": row[key] + place for place, name in enumerate(("ihd512", "full"), 1)
                               for key in ("psnr", "mse", "fmse", "fpsnr")}})  # fmt: skip
    write_run(tmp_path / "0", rows, ("method=mkl",), metrics=metrics, pictures=False)
    grid = resolution_grid(make_content(collect([tmp_path])))
    assert grid is not None
    assert grid.header[:4] == ("run", "PSNR ↑ ihd256", "PSNR ↑ ihd512", "PSNR ↑ full")
    ours = next(row for row in grid.rows if row[0].text != UNCHANGED)
    assert [cell.text for cell in ours[1:4]] == ["22.00", "23.00", "24.00"]
    write_run(tmp_path / "one" / "0", rows, ("method=mkl",), metrics={"full": PixelMetrics()}, pictures=False)
    assert resolution_grid(make_content(collect([tmp_path / "one"]))) is None
