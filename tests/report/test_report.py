import csv
import json
import math
import re
import statistics

import pytest

from diffharmon.columns import Column
from diffharmon.errors import InputError
from diffharmon.metrics.clip import ClipScores
from diffharmon.report.command import main
from diffharmon.report.gallery import pictures_of
from diffharmon.report.runs import collect, find_run

HEADER = "method,year,venue,category,subset,resolution,psnr,mse,fmse,ssim,source\n"


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text(
        HEADER + 'NetA,2021,CVPR,supervised,All,256x256,38.00,20.0,200.0,,"a README, table 1"\n'
        "NetB,2022,TIP,supervised,All,full,39.00,,,,elsewhere\n"
        "NetC,2022,TIP,supervised,HCOCO,256x256,23.00,9.0,,0.99,elsewhere\n"
        "NetD,2022,TIP,supervised,All fg 0-5%,256x256,40.0,,,,elsewhere\n"
    )
    return path


@pytest.fixture
def report(tmp_path):
    return lambda *options: write(tmp_path / "out", *options)


@pytest.fixture(scope="session")
def texts(sweep, tmp_path_factory):
    """The report of the sweep with all defaults but pictures."""
    return write(tmp_path_factory.mktemp("out"), sweep)


def write(folder, *options):
    main([*map(str, options), "--output", str(folder), "--gallery", "0"])
    return {
        suffix: (folder / f"report.{suffix}").read_text(encoding="utf-8") for suffix in ("md", "tex", "csv", "html")
    }


def lines_of(text):
    return list(csv.DictReader(text.splitlines()))


def one(lines, **wanted):
    found = [line for line in lines if all(line[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, len(found))
    return found[0]


def test_means_gains_and_counts_are_those_of_the_rows(sweep, texts):
    lines = lines_of(texts["csv"])
    rows = [json.loads(line) for line in (sweep / "0" / "rows-rank0.jsonl").read_text().splitlines()]
    everything = one(lines, group="All", run="structure=none", metric="psnr")
    assert float(everything["mean"]) == pytest.approx(statistics.fmean(row["psnr"] for row in rows))
    gains = [row["psnr"] - row["composite_psnr"] for row in rows]
    assert float(everything["gain"]) == pytest.approx(statistics.fmean(gains))
    assert int(everything["better"]) == sum(gain > 0 for gain in gains)
    assert everything["baseline"] == "unchanged composite"
    assert float(everything["low"]) < float(everything["mean"]) < float(everything["high"])
    subset = one(lines, group="HFlickr", run="structure=none", metric="mse")
    assert float(subset["mean"]) == pytest.approx(statistics.fmean(r["mse"] for r in rows if r["source"] == "HFlickr"))
    band = one(lines, group="5-15 %", run="structure=none", metric="fmse")
    assert float(band["mean"]) == pytest.approx(statistics.fmean(r["fmse"] for r in rows if r["area"] == 0.1))
    assert band["images"] == "4"


def test_a_chosen_baseline_is_compared_on_common_images(sweep, report):
    lines = lines_of(report(sweep, "--baseline", "structure=none")["csv"])
    found = one(lines, group="All", run="structure=sobel", metric="psnr")
    assert (found["pairs"], found["images"], found["baseline"]) == ("10", "10", "structure=none")
    assert float(found["gain"]) > 1
    assert float(found["p"]) <= float(found["p_holm"]) < 0.05
    assert one(lines, group="All", run="structure=none", metric="psnr")["gain"] == ""


def test_failed_images_and_dead_jobs_are_counted_and_listed(texts):
    assert "## Failed images (2)" in texts["md"]
    assert r"| structure=sobel | photo_10 | InputError: </script> a\|b_c & 50 % |" in texts["md"]
    assert "structure=broken" in texts["md"]
    assert r"InputError: $<$/script$>$ a$|$b\_c \& 50 \%" in texts["tex"]
    assert "&lt;/script&gt; a|b_c &amp; 50 %" in texts["html"]
    assert "The runs did not finish the same images (10 to 12, 10 in common)" in texts["md"]


def test_a_report_names_the_commits_and_counts_that_it_is_made_of(own_sweep, report):
    for job, commit in (("0", "abc"), ("1", "def-dirty")):
        path = own_sweep / job / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "versions": {"commit": commit}}))
    texts = report(own_sweep, "--rows", "run")
    stated = (
        "3 runs, 34 results of 12 images, 2 failed, 1 job left nothing; diffharmon at commits abc, def-dirty, unknown."
    )
    assert all(stated in texts[kind] for kind in ("md", "tex", "html"))
    assert "(HCOCO: 5 to 6, HFlickr: 5 to 6, All: 10 to 12 images)" in texts["md"]


def test_a_run_that_lacks_images_is_never_the_best(texts):
    table = texts["md"].partition("### All images\n")[2].partition("####")[0]
    bold = {line.split(" | ")[0] for line in table.splitlines() if "**" in line}
    assert bold == {"| structure=none", "| structure=paper"}, "sobel's ten images have the highest mean PSNR"


def test_jobs_stand_in_the_order_of_their_numbers_and_are_named_by_what_differs(own_sweep, make_row, write_run):
    write_run(own_sweep / "9", [make_row(0, 1.0)], ("dataset=mini", "name=study", "structure=a", "logger=csv"))
    labels = [run.label for run in collect([own_sweep]).runs]
    assert labels == ["structure=none", "structure=paper", "structure=sobel", "structure=a"]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path, make_row, write_run):
    for name in "ab":
        write_run(tmp_path / name, [make_row(0, 1.0)])
    labels = [run.label for run in collect([tmp_path / "a", tmp_path / "b", tmp_path / "a"]).runs]
    assert labels == [f"study ({tmp_path.name}/a)", f"study ({tmp_path.name}/b)"]


def test_a_finished_row_counts_before_a_failed_one_and_a_cut_line_not_at_all(tmp_path, make_row, write_run):
    bad = {"name": "photo_0", "status": "error", "config_hash": "c0", "error": "x"}
    write_run(tmp_path / "run", [make_row(0, 1.0), bad, make_row(1, 1.0), make_row(1, 2.0)])
    with (tmp_path / "run" / "rows-rank0.jsonl").open("a") as file:
        file.write('{"name": "photo_2", "sta')
    run = collect([tmp_path]).runs[0]
    assert (sorted(run.rows), len(run.errors)) == (["photo_0", "photo_1"], 0)
    assert run.rows["photo_1"]["mse"] == 98.0


def test_a_metric_of_ones_own_is_reported_by_its_columns(tmp_path, make_row, write_run, report):
    class Distance:
        statement = "of my own"
        columns = (Column("distance", "Distance", "mm", "lower", decimals=1, has_baseline=True),)

        def measure(self, sample):
            return {"distance": 3.0}

    rows = [{**make_row(i, 1.0), "distance": 3.0, "composite_distance": 5.0} for i in range(3)]
    write_run(tmp_path / "a", rows, metrics={"own": Distance()})
    texts = report(tmp_path)
    assert "| run | images | Distance ↓ | score ↑ |" in texts["md"]
    found = one(lines_of(texts["csv"]), group="All", run="study", metric="distance")
    assert (found["mean"], found["gain"], found["metrics"]) == ("3.0", "2.0", "own")
    assert "own: of my own" in texts["md"]


def test_rows_without_recorded_columns_are_refused(tmp_path, make_row, write_run):
    write_run(tmp_path / "a", [make_row(0, 1.0)])
    (tmp_path / "a" / "run.json").write_text('{"config": {"metrics": {"name": "full"}}}')
    with pytest.raises(InputError, match=r"a/run\.json: cannot be read as a record with columns .* run it again"):
        collect([tmp_path])
    (tmp_path / "a" / "run.json").unlink()
    with pytest.raises(InputError, match=r"rows but no run\.json"):
        collect([tmp_path])


@pytest.mark.parametrize(("second", "found"), [(30.0, ["30.0"]), (31.0, [])])
def test_the_composites_clip_score_is_shown_where_runs_agree_on_it(
    tmp_path, make_row, write_run, report, second, found
):
    for name, before in (("a", 30.0), ("b", second)):
        rows = [{**make_row(i, 1.0), "clip_score": 33.0, "composite_clip_score": before} for i in range(3)]
        write_run(tmp_path / name, rows, [f"describer={name}"], metrics={"clip": ClipScores()})
    lines = [line for line in lines_of(report(tmp_path)["csv"]) if line["group"] == "All"]
    shown = [line for line in lines if line["metric"] == "clip_score"]
    assert [line["mean"] for line in shown if line["run"] == "unchanged composite"] == found
    assert [line["mean"] for line in shown if "describer" in line["run"]] == ["33.0", "33.0"]


def test_a_result_equal_to_the_truth_has_an_infinite_mean_and_no_part_in_the_gain(
    tmp_path, make_row, write_run, report
):
    write_run(tmp_path / "a", [make_row(0, 1.0), make_row(1, 3.0), {**make_row(2, 2.0), "psnr": math.inf}])
    texts = report(tmp_path / "a")
    found = one(lines_of(texts["csv"]), group="All", run="study", metric="psnr")
    assert (found["mean"], found["low"], found["gain"], found["pairs"]) == ("inf", "", "2.0", "2")
    assert "1 results equal the ground truth" in texts["md"]
    assert "∞" in texts["html"]
    assert r"$\infty$" in texts["tex"]


def test_runs_without_ground_truth_report_their_score(tmp_path, make_row, write_run, report):
    keys = ("name", "source", "config_hash", "status", "score", "reason", "seconds", "network_samples")
    write_run(
        tmp_path / "a", [{k: v for k, v in make_row(i, 0.0).items() if k in keys} for i in range(3)], pictures=False
    )
    texts = report(tmp_path / "a")
    assert one(lines_of(texts["csv"]), metric="score", group="All")["mean"] == "0.5"
    assert "Score alone" in texts["md"]


def test_published_lines_stand_beside_ours_of_the_same_subset_and_resolution_only(sweep, published, report):
    text = report(sweep, "--published", published)["md"]
    assert "NetA" in text
    assert "NetB" not in text
    parts = re.split(r"^### ", text, flags=re.M)
    assert [part.partition("\n")[0] for part in parts if "NetC" in part] == ["Subset HCOCO"]
    assert [part.partition("\n")[0] for part in parts if "NetD" in part] == ["Foreground 0-5 % of the frame"]
    assert "means over 12 of the 7404 test images" in text
    methods = [line.split(" | ")[0] for line in text.splitlines() if "| this report |" in line or "NetC" in line]
    assert methods.index("| **structure=paper**") < methods.index("| NetC")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no run in it"), ("garbage\n", "something else than rows"), ('{"a": 1}\n', "something else than rows")],
)
def test_unreadable_folders_give_one_line_and_exit_code_2(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "rows-rank0.jsonl").write_text(content)
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path)])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(tmp_path) in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize(
    "options", [["--baseline", "nothing"], ["--baseline", "structure="], ["--published", "no.csv"]]
)
def test_wrong_options_give_one_line_and_exit_code_2(sweep, capsys, options):
    with pytest.raises(SystemExit) as exit_info:
        main([str(sweep), *options])
    assert exit_info.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_missing_folder_and_a_broken_record_are_named(tmp_path, own_sweep):
    with pytest.raises(InputError, match="no such folder"):
        collect([tmp_path / "missing"])
    (own_sweep / "1" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"1/run\.json: cannot be read as a record"):
        collect([own_sweep])


def test_a_run_is_found_by_label_folder_or_part_of_its_label(sweep):
    runs = collect([sweep]).runs
    assert find_run(runs, "1") is find_run(runs, "structure=paper") is find_run(runs, "paper") is runs[1]


def test_the_same_rows_give_the_same_report_to_the_byte(sweep, texts, report):
    assert report(sweep) == texts


def test_latex_is_balanced_and_escaped(sweep, published, report):
    text = report(sweep, "--published", published)["tex"]
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") > 5
    body = text.replace(r"\{", "").replace(r"\}", "")
    assert body.count("{") == body.count("}")
    for number, line in enumerate(text.splitlines()[3:], start=4):
        assert not re.search(r"(?<!\\)[_#%]", line.removesuffix("{%")), (number, line)
    for table in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", text, flags=re.S):
        columns = len(table[0].replace("p{6cm}", "p"))
        rows = [line for line in table[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}


def test_pictures_of_a_run_are_read_and_a_run_without_has_none(sweep):
    first, _, without = collect([sweep]).runs
    parts = pictures_of(first, "photo_0")
    assert set(parts) == {"composite", "result", "real", "mask"}
    width, height = parts["real"].size
    middle = {kind: sum(picture.getpixel((width // 2, height // 2))) for kind, picture in parts.items()}
    assert middle["mask"] == 3 * 255
    assert middle["composite"] / middle["real"] == pytest.approx(0.4, abs=0.03), "its foreground is at 0.4"
    assert pictures_of(without, "photo_0") is None
