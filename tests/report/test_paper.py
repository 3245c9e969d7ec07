"""What a paper takes over: a compact table, macros, figures; compiled where LaTeX is installed."""

import re
import shutil
import subprocess
from shutil import copytree

import pytest

from diffharmon.report.content import make_content
from diffharmon.report.paper import letters, write_paper
from diffharmon.report.pivot import Layout
from diffharmon.report.runs import collect
from diffharmon.report.settings import read_names

PAPER = r"""\documentclass[twocolumn]{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs}
\usepackage{graphicx}
\input{numbers}
\begin{document}
Ours reaches \dhDiffusionMiniPsnr{} dB on mini.
\input{table}
\includegraphics{gains.pdf}
\includegraphics{compute.pdf}
\clearpage
\input{appendix}
\end{document}
"""


@pytest.fixture(scope="module")
def written(seeds, tmp_path_factory):
    """The files of a paper in a folder of their own, and how to write them again."""
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    names = tmp_path_factory.mktemp("names") / "names.yaml"
    names.write_text("diffusion: Ours (50 % & more_)\nmkl: Monge-Kantorovich\n")
    layout = Layout(rows=("method",), columns=("dataset",), names=read_names(names))
    content = make_content(collect([seeds]), layout=layout)
    folder = tmp_path_factory.mktemp("paper")
    return content, folder, write_paper(content, folder)


@pytest.fixture
def paper(written):
    return written[1]


def test_the_table_marks_best_second_and_significance(paper):
    text = (paper / "table.tex").read_text(encoding="utf-8")
    lines = {line.split(" & ")[0]: line.split(" & ")[1:] for line in text.splitlines() if line.endswith(r"\\")}
    assert list(lines)[2:] == ["unchanged composite", r"Ours (50 \% \& more\_)", "Monge-Kantorovich"]
    ours, other = lines[r"Ours (50 \% \& more\_)"], lines["Monge-Kantorovich"]
    assert ours[0] == r"\textbf{25.12}{\scriptsize$\pm$0.71}$^{*}$", "eight pairs, all better"
    assert other[0] == r"\underline{22.62}{\scriptsize$\pm$0.00}$^{*}$"
    assert lines["unchanged composite"][0] == "21.62"
    assert r"\multicolumn{3}{c}{mini} & \multicolumn{3}{c}{own}" in text
    assert "Holm-corrected" in text
    assert "; 8 images a column)" in text
    assert "±" not in text


def test_each_number_has_a_macro_of_its_own(paper):
    text = (paper / "numbers.tex").read_text(encoding="utf-8")
    names = re.findall(r"\\newcommand\{\\([A-Za-z]+)\}\{([^}]*)\}", text)
    assert len(names) == len(dict(names)) == len(text.splitlines()) - 1 == 3 * 2 * 3
    assert dict(names)["dhDiffusionMiniPsnr"] == "25.12"
    assert letters("HAdobe5k") == "HAdobeFivek"
    assert letters("structure=[sobel, anchor]") == "StructureSobelAnchor"


def test_figures_are_pdf_and_svg_and_all_files_the_same_each_time(written, tmp_path):
    content, _, paths = written
    files = {path.name: path.read_bytes() for path in paths}
    figures = {f"{name}.{kind}" for name in ("gains", "compute") for kind in ("pdf", "svg")}
    assert set(files) == {"table.tex", "numbers.tex", "appendix.tex", *figures}
    assert files["gains.pdf"].startswith(b"%PDF")
    assert b"gain in PSNR [dB] over unchanged composite" in files["gains.svg"]
    assert {path.name: path.read_bytes() for path in write_paper(content, tmp_path)} == files


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-recommended)")
def test_a_paper_with_the_table_and_the_appendix_compiles(paper, tmp_path):
    paper = copytree(paper, tmp_path / "paper")
    (paper / "paper.tex").write_text(PAPER, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=paper, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (paper / "paper.pdf").read_bytes().startswith(b"%PDF")
