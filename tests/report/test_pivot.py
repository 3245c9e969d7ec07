"""Runs by their settings: seeds averaged, baselines first, and nothing averaged that is not the same."""

import json
import re
import statistics
from shutil import copytree

import pytest

from diffharmon.errors import InputError
from diffharmon.report.command import main
from diffharmon.report.content import make_content
from diffharmon.report.grids import pivot_grid
from diffharmon.report.pivot import Layout
from diffharmon.report.runs import collect
from diffharmon.report.settings import as_text, read_names


def changed(seeds, tmp_path, change):
    """Copy the sweep with the record of one job changed."""
    folder = copytree(seeds, tmp_path / "changed")
    path = folder / "minimkl1" / "run.json"
    record = json.loads(path.read_text())
    change(record["config"])
    path.write_text(json.dumps(record))
    return folder


def pivot_of(folder, *paths, baseline=None, **layout):
    (section,) = make_content(collect([folder, *paths]), baseline, layout=Layout(**layout)).sections
    return section.pivot


def test_jobs_that_differ_by_the_seed_are_one_line_with_mean_and_deviation(seeds):
    pivot = pivot_of(seeds, rows=("method",), columns=("dataset",), values=("fpsnr", "psnr"))
    assert pivot.rows == (("unchanged composite",), ("mkl",), ("diffusion",)), "baselines first"
    assert pivot.columns == (("mini",), ("own",))
    entry = pivot.entries[("diffusion",), ("mini",), "psnr"]
    before = statistics.fmean(20.0 + i % 5 for i in range(8))
    assert entry.seeds == pytest.approx((before + 3, before + 4))
    assert entry.mean == pytest.approx(before + 3.5)
    assert entry.deviation == pytest.approx(statistics.stdev((3, 4)))
    assert entry.comparison.gain.mean == pytest.approx(3.5)
    assert entry.comparison.gain.count == 8, "images, not images times seeds"
    grid = pivot_grid(pivot)
    assert grid.header == ("method", "mini fPSNR ↑", "mini PSNR ↑", "own fPSNR ↑", "own PSNR ↑")
    assert [cell.text for cell in grid.rows[2][:3]] == ["diffusion", f"{before - 3 + 3.5:.2f} ± 0.71", "25.12 ± 0.71"]
    assert [row[2].best for row in grid.rows] == [False, False, True]
    assert [pivot.rank(row, ("own",), pivot.values[0]) for row in pivot.rows] == [2, 1, 0]


def test_names_give_titles_and_order(seeds, tmp_path):
    path = tmp_path / "names.yaml"
    path.write_text("diffusion: Ours (100 %)\nmkl: Monge-Kantorovich\nown: Photos\nmini: Mini\n")
    pivot = pivot_of(seeds, rows=("method",), columns=("dataset",), names=read_names(path))
    assert [pivot.name(row) for row in pivot.rows] == ["unchanged composite", "Ours (100 %)", "Monge-Kantorovich"]
    assert [pivot.name(column) for column in pivot.columns] == ["Photos", "Mini"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: {b: c}\n", "a: [b\n", ""])
def test_names_that_are_no_mapping_are_refused(tmp_path, text):
    path = tmp_path / "names.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="--names"):
        read_names(path)


def test_runs_that_differ_by_more_than_the_seed_never_share_a_cell(seeds, tmp_path):
    with pytest.raises(
        InputError, match=r"4 runs share the line diffusion .* differ in dataset; expected it in --rows"
    ):
        pivot_of(seeds, rows=("method",), columns=("structure",))
    folder = changed(seeds, tmp_path, lambda config: config["method"]["policy"].update(tries=3))
    with pytest.raises(InputError, match=r"differ in method\.policy\.tries;"):
        pivot_of(folder, rows=("method",), columns=("dataset",))


def test_a_seed_that_is_repeated_is_refused(seeds, tmp_path):
    folder = changed(seeds, tmp_path, lambda config: config.update(seed=0))
    with pytest.raises(InputError, match=r"2 runs share .* and repeat a seed"):
        pivot_of(folder, rows=("method",), columns=("dataset",))


def test_subsets_and_configuration_keys_make_sides_and_all_images_stand_last(seeds):
    pivot = pivot_of(seeds, rows=("method.policy.tries", "method"), columns=("dataset", "subset"))
    assert pivot.rows[0] == ("unchanged composite", "")
    assert pivot.rows[1:] == (("2", "mkl"), ("2", "diffusion"))
    assert pivot.columns[-2:] == (("mini", "All"), ("own", "All"))
    assert [value.key for value in pivot.values] == ["psnr", "mse", "fmse"]
    assert len(pivot.entries[("2", "mkl"), ("own", "HCOCO"), "mse"].images) == 4


def test_the_default_lines_are_the_runs_without_their_seeds(seeds):
    pivot = pivot_of(seeds, values=("psnr",), columns=("subset",), rows=("run",))
    assert ("method=mkl dataset=mini",) in pivot.rows
    assert len(pivot.rows) == 5


def test_gains_are_over_the_line_of_a_chosen_baseline(seeds):
    pivot = pivot_of(seeds, baseline="minimkl0", rows=("method",), columns=("dataset",))
    assert pivot.baseline == ("mkl",)
    assert pivot.entries[("mkl",), ("own",), "psnr"].comparison is None
    assert pivot.entries[("diffusion",), ("own",), "psnr"].comparison.gain.mean == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "methd"], r"--rows methd: no run has it; .* method"),
        (["--columns", "data"], r"--columns data: no run has it"),
        (["--values", "psrn"], r"--values psrn: no run has it; .* psnr"),
    ],
)
def test_unknown_keys_give_one_line_and_exit_code_2(seeds, capsys, options, message):
    with pytest.raises(SystemExit) as exit_info:
        main([str(seeds), *options])
    assert exit_info.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_the_command_prints_and_writes_the_table(seeds, capsys, tmp_path):
    options = ["--rows", "method", "--columns", "dataset", "--values", "fpsnr,psnr", "--output", str(tmp_path / "out")]
    main([str(seeds), *options])
    printed = capsys.readouterr().out
    assert "25.12 ± 0.71*" in printed
    for name in ("report.md", "report.html", "report.tex"):
        assert "± 0.71" in (tmp_path / "out" / name).read_text().replace(r"$\pm$", "±")


def test_settings_as_text():
    assert as_text("['sobel', 'anchor']") == as_text({"sobel": {}, "anchor": {}}) == "sobel+anchor"
    assert (as_text([]), as_text("[]"), as_text(None), as_text(0.5)) == ("none", "none", "none", "0.5")
    assert as_text({"_target_": "a.b.C", "x": 1}) == "C"
