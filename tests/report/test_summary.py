"""What a run and a sweep print when they end, and what ``--version`` prints."""

import subprocess
import sys

import pytest

from diffharmon import run
from diffharmon.columns import Column, group_columns
from diffharmon.metrics import MetricSet, PixelMetrics
from diffharmon.report.terminal import print_sweep
from diffharmon.results.summary import mean_table
from diffharmon.results.versions import version_line

GROUPS = MetricSet({"full": PixelMetrics()}).groups
ROWS = [
    {"psnr": 30.0, "composite_psnr": 20.0, "mse": 5.0, "composite_mse": 9.0, "score": 0.25},
    {"psnr": float("inf"), "composite_psnr": 22.0, "mse": 0.0, "composite_mse": 4.0, "score": 0.75},
]


def cells(text):
    return {line.split("  ")[0]: line.split() for line in text.splitlines()}


def test_a_run_ends_with_its_means_and_gains_in_the_right_direction():
    lines = cells(mean_table(ROWS, GROUPS))
    assert lines["mean over 2 images"][-3:] == ["composite", "result", "gain"]
    assert lines["MSE ↓"] == ["MSE", "↓", "6.50", "2.50", "+4.00"]
    assert lines["PSNR ↑"] == ["PSNR", "↑", "21.00", "∞", "+10.00"], "an infinite gain is left out"
    assert lines["score ↑"] == ["score", "↑", "–", "0.500", "–"]
    assert "fMSE ↓" not in lines, "nothing was measured"
    assert cells(mean_table(ROWS[:1], GROUPS))["1 image"]


def test_a_second_protocol_is_named_in_the_table():
    groups = MetricSet({"ihd256": PixelMetrics(size=256), "full": PixelMetrics()}).groups
    assert "full PSNR ↑" in cells(mean_table([{"full_psnr": 30.0}], groups))


def test_a_sweeper_maximizes_the_main_number_of_the_first_metric_else_the_score():
    both = MetricSet({"ihd256": PixelMetrics(size=256), "full": PixelMetrics()}).groups
    means = {"fpsnr": 1.0, "full_fpsnr": 2.0, "score": 3.0}
    assert run.objective(means, both) == 1.0
    assert run.objective({"score": 3.0}, both) == 3.0, "without ground truth"
    assert run.objective(means, group_columns({"own": ("", (Column("mse", "MSE", direction="lower"),))})) == 3.0


def test_a_sweep_ends_with_one_table_of_its_jobs(own_sweep, capsys):
    print_sweep(own_sweep)
    printed = capsys.readouterr().out
    lines = cells(printed)
    assert lines["structure=none"][1:3] == ["12", "0"]
    assert lines["structure=sobel"][1:3] == ["10", "2"]
    assert "fPSNR ↑ (gain)" in printed
    assert "structure=broken" in printed.partition("no image finished: ")[2]
    print_sweep(own_sweep / "10")
    assert capsys.readouterr().out == "", "a sweep without rows, as of descriptions, prints nothing"


def test_the_version_names_what_runs():
    import diffusers
    import torch

    import diffharmon

    line = version_line()
    assert line.startswith(f"diffharmon {diffharmon.__version__}")
    assert f"torch {torch.__version__}" in line
    assert f"diffusers {diffusers.__version__}" in line


@pytest.mark.parametrize(
    "code",
    [
        "import diffharmon.report.command",
        "import diffharmon.report.terminal",
        "import diffharmon.run; sys.argv = ['diffharmon', '--version']; diffharmon.run.main()",
        "from diffharmon.report import command\ntry: command.main(['/no/such/folder'])\nexcept SystemExit: pass",
    ],
)
def test_commands_that_load_no_model_do_not_import_torch(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nassert 'torch' not in sys.modules"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
