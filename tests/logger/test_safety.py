import csv

import pytest

from diffharmon.errors import ConfigError
from diffharmon.logger.csv import Csv
from diffharmon.logger.safety import plain_cells
from diffharmon.logger.wandb import Wandb


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+cmd", "-x", "\t=1", "\r=1", "=cmd|'/C calc'!A0"])
def test_no_cell_is_a_formula(text, tmp_path):
    logger = Csv(folder=tmp_path)
    rows = [{"name": text, "status": "ok", "psnr": -3.5}, {"name": "plain", "status": "error", "error": text}]
    logger.image(text, {}, rows[0])
    logger.image(text, {}, {**rows[0], "another": 1.0})  # read back and written anew
    logger.summary(rows, {})
    with (tmp_path / "results.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+", "\t", "\r", "-x"))]
    assert f"'{text}" in cells
    assert "-3.5" in cells, "numbers stay numbers"


def test_what_was_read_back_is_not_marked_twice():
    once = plain_cells({"name": "=1", "gain": "-0.5", "empty": ""})
    assert once == {"name": "'=1", "gain": "-0.5", "empty": ""}
    assert plain_cells(once) == once


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\\b", "", ".", "..", "run.json", "rows-rank0.jsonl", "images"])
def test_a_log_file_stays_in_the_run_folder_and_off_its_own_files(name, tmp_path):
    with pytest.raises(ConfigError, match=r"logger\.csv\.filename"):
        Csv(name, folder=tmp_path)


def test_offline_wandb_has_no_host_to_look_up(tmp_path):
    logger = Wandb(folder=tmp_path)
    try:
        assert logger.run.settings.base_url == "http://127.0.0.1:9"
    finally:
        logger.close()
