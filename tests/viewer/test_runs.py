import json

import pytest
from markupsafe import escape
from sweep_rows import BASELINE, numbers_of, row
from written_run import workflow, write_run
from written_sweep import ARMS, HOSTILE_ARM, SEEDS, write_sweep

from reasoning.core.errors import InputError
from reasoning.findings.numbers import number
from reasoning.findings.sweep_numbers import arm_score
from reasoning.findings.sweep_words import csv_text
from reasoning.viewer.runs import RunsFolder


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    return write_sweep(tmp_path_factory.mktemp("swept") / "sweep")


def test_a_sweep_shows_its_arms_with_the_intervals_of_its_table(swept):
    told = RunsFolder(swept).overview({})
    [score] = told["scores"]
    assert told["sweep"] and score["name"] == "exam/zero/strict/pass@1"
    assert score["verdict"] == "beside baseline, of 2 other arms 1 higher, 1 can't tell"
    means, gaps = map(str, score["pictures"])
    assert [means.index(str(escape(f"{arm}: 0."))) for arm in ARMS] == sorted(means.index(escape(arm)) for arm in ARMS)
    for arm, values in [*ARMS.items()][1:]:
        difference = arm_score(values, BASELINE).difference
        assert difference is not None
        told = number(difference.mean, scale=max(abs(difference.low), abs(difference.high)), sign=True)
        assert escape(f"{arm}: {told}, 95 % interval ") in gaps and "<img" not in gaps


def test_the_scores_of_a_sweep_stand_in_its_own_order_the_first_one_first(tmp_path):
    (tmp_path / "sweep.gin").touch()
    (tmp_path / "table.csv").write_text(csv_text(numbers_of(row("baseline", {"z": BASELINE, "a": BASELINE}))))
    assert [score["name"] for score in RunsFolder(tmp_path).overview({})["scores"]] == ["z", "a"]


def test_every_run_of_a_sweep_has_its_own_value_and_opens_by_its_name(swept):
    folder = RunsFolder(swept)
    runs = folder.overview({})["runs"]
    assert [(run["arm"], run["seed"]) for run in runs] == [(arm, str(seed)) for arm in ARMS for seed in SEEDS]
    for run in runs:
        assert run["state"] == "finished"
        assert run["values"] == {"exam/zero/strict/pass@1": ARMS[run["arm"]][int(run["seed"])]}
    stages = folder.answers({"run": f"{HOSTILE_ARM}/seed-1"}).stages({})
    assert stages["run"] == f"{HOSTILE_ARM}/seed-1" and len(stages["stages"]) == 3


def test_before_its_first_table_a_sweep_lists_its_runs_and_a_damaged_table_is_told(swept, tmp_path):
    (tmp_path / "arms").symlink_to(swept / "arms")
    (tmp_path / "sweep.gin").write_text("import nothing.that.exists\n")
    folder = RunsFolder(tmp_path)
    assert folder.overview({})["scores"] == [] and len(folder.overview({})["runs"]) == len(ARMS) * len(SEEDS)
    (tmp_path / "table.csv").write_text("row,score\nsummary,a\n")
    with pytest.raises(InputError, match=r"table\.csv is damaged"):
        folder.overview({})


def test_a_folder_of_runs_lists_each_with_the_verdict_of_its_report(run, tmp_path):
    (tmp_path / "whole").symlink_to(run)
    started = write_run(tmp_path / "started", workflow()[:2])
    entries = json.loads((started / "run.json").read_text())
    entries["stages"][1]["finished"] = False
    (started / "run.json").write_text(json.dumps(entries))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    told = RunsFolder(tmp_path).overview({})
    assert not told["sweep"] and [each["run"] for each in told["runs"]] == ["broken", "started", "whole"]
    broken, begun, whole = told["runs"]
    assert "run.json" in broken["verdict"] and begun["state"] == "1 of 2 stages finished"
    assert whole["verdict"].startswith("It learnt: lenient pass@1 from 0.28 (base) to 0.9")


@pytest.mark.parametrize("name", ["", "baseline", "../arms/baseline/seed-0", "/etc", "baseline/seed-0/../seed-1"])
def test_a_run_is_looked_up_and_never_a_path(swept, name):
    with pytest.raises(InputError, match="there is no run"):
        RunsFolder(swept).answers({"run": name})


def test_a_run_alone_has_nothing_to_choose_from(run):
    assert RunsFolder(run).overview({})["runs"] == []
    assert RunsFolder(run).answers({}).run == run
