"""The whole walk of a study: a sweep, its report, the paper's table compiled, and W&B's file read back."""

import json
import shutil
import subprocess
import sys

import pytest

from diffharmon.report.command import main
from diffharmon.report.runs import collect

SWEEP = (
    *("-m", "dataset=mini", "dataset.limit=6", "method=diffusion,mkl", "seed=0,1", "sampler.steps=2"),
    "structure=[cross_attention],[cross_attention,self_attention]",
    *("describer=file", "describer.path=${asset:mini/triples.jsonl}", "evaluator=none", "metrics=[full,ihd256]"),
    *("trainer=cpu", "logger=[wandb]", "name=walk"),
)
PAPER = r"""\documentclass[twocolumn]{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs}
\usepackage{graphicx}
\input{numbers}
\begin{document}
\input{table}
\includegraphics{gains.pdf}
\clearpage
\input{appendix}
\end{document}
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def walk(tmp_path_factory, run_command):
    """The sweep's folder and what the command printed; the report beside it."""
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    folder = tmp_path_factory.mktemp("walk")
    done = run_command(folder / "sweep", *SWEEP)
    options = ("--rows", "method,structure", "--columns", "dataset", "--paper", "--hub", "someone/benchmark")
    main([str(folder / "sweep"), "--output", str(folder / "report"), *options])
    return folder, done


def test_eight_jobs_finish_and_print_one_table(walk):
    folder, done = walk
    assert done.returncode == 0, done.stderr
    runs = collect([folder / "sweep"]).runs
    assert len(runs) == 8
    assert all(len(run.rows) == 6 and not run.errors for run in runs)
    table = done.stdout[done.stdout.rindex("images  failed") :]
    assert table.count("method=diffusion") == table.count("method=mkl") >= 4


def test_the_report_has_a_line_a_setting_with_its_seeds_averaged(walk):
    folder, _ = walk
    text = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "Protocols side by side" in text
    assert "Runs by method and structure" in text
    assert "mean ± standard deviation over seeds" in text
    first = text[text.index("Runs by method and structure") :].split("\n\n")[2]
    assert len(first.splitlines()) == 2 + 1 + 4, "head and rule, the composites, four settings"


def test_the_paper_compiles(walk):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (texlive-latex-recommended)")
    paper = walk[0] / "report" / "paper"
    (paper / "paper.tex").write_text(PAPER, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=paper, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Undefined" not in done.stdout
    assert (paper / "paper.pdf").stat().st_size > 10_000


def test_wandb_has_what_the_rows_have(walk):
    folder, _ = walk
    for run in collect([folder / "sweep"]).runs:
        (path,) = run.folder.glob("wandb/offline-run-*")
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        records = [json.loads(line) for line in lines]
        (begun,) = [record["run"] for record in records if record["type"] == "run"][:1]
        assert begun["run_group"].startswith("walk/")
        merged = {}
        for record in records:
            if record["type"] == "summary":
                merged |= record["summary"].get("update", {})
        mean = sum(row["fpsnr"] for row in run.rows.values()) / len(run.rows)
        found = [value for key, value in merged.items() if "fpsnr" in key and isinstance(value, float)]
        assert any(value == pytest.approx(mean, rel=1e-4) for value in found), merged.keys()
