import yaml
from huggingface_hub import parse_eval_result_entries

from diffharmon.report.command import main


def test_the_hub_reads_its_entries_back(sweep, tmp_path):
    main([str(sweep), "--output", str(tmp_path), "--hub", "someone/harmonization"])
    files = sorted((tmp_path / ".eval_results").iterdir())
    assert [path.name for path in files] == [
        "structure-none-0.yaml",
        "structure-paper-1.yaml",
        "structure-sobel-2.yaml",
    ]
    entries = parse_eval_result_entries(yaml.safe_load(files[1].read_text(encoding="utf-8")))
    assert {entry.dataset_id for entry in entries} == {"someone/harmonization"}
    values = {entry.task_id: entry.value for entry in entries}
    assert {task.split("_")[1] for task in values} == {"all", "hcoco", "hflickr"}, "no bands of area"
    assert {task.split("_")[2] for task in values} == {"psnr", "mse", "fmse"}
    assert 24 < values["ihd256_all_psnr"] < 26
    assert abs(values["ihd256_all_psnr"] - (values["ihd256_hcoco_psnr"] + values["ihd256_hflickr_psnr"]) / 2) < 1e-3
    assert all("12 images" in entry.notes or "6 images" in entry.notes for entry in entries)
    assert all("256 x 256" in entry.notes for entry in entries)
