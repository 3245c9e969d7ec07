"""What answers at once does not import torch, whose import alone takes seconds."""

import json
import subprocess
import sys

CODE = """
import sys
from diffharmon.report.command import main as report
from diffharmon.run import main as run

def call(main, *arguments):
    sys.argv = ["diffharmon", *arguments]
    try:
        main()
    except SystemExit:
        pass
    heavy = [name for name in ("torch", "diffusers", "transformers", "lightning", "wandb") if name in sys.modules]
    print("imported by", arguments[0], heavy, file=sys.stderr)

call(run, "--version")
call(run, "--help")
call(run, "--cfg", "job")
call(run, "sampler.stepz=3")
call(report, *sys.argv[1:])
"""


def test_answers_and_reports_import_nothing_heavy(tmp_path):
    row = {"name": "a", "status": "ok", "source": "x", "seconds": 1.0, "psnr": 20.0, "composite_psnr": 19.0}
    columns = [{"name": "full", "statement": "s", "prefix": "", "columns": []}]
    (tmp_path / "rows-rank0.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "run.json").write_text(json.dumps({"config": {"name": "x"}, "columns": columns}))
    done = subprocess.run([sys.executable, "-c", CODE.replace("*sys.argv[1:]", repr(str(tmp_path)))], text=True,
                          capture_output=True)  # fmt: skip
    found = [line for line in done.stderr.splitlines() if line.startswith("imported by")]
    assert len(found) == 5, done.stderr
    assert all(line.endswith("[]") for line in found), found
    assert "did you mean steps?" in done.stderr
    assert (tmp_path / "report.md").is_file(), done.stderr
