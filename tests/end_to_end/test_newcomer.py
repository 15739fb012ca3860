"""A newcomer's folder outside the project: a module with one of everything and a file; it runs, resumes, is known by
its source, and is described in sensible words."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import forked
import pytest

from reasoning.core.files import read_json, read_jsonl
from reasoning.pipeline.folder import read_run

HERE = Path(__file__).parent / "newcomer"
MINE = ("mine.py", "mine.gin")


def launch(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Runs a command as the newcomer would, from the folder of the file."""
    return forked.run(["reasoning", *words], os.environ, 600, folder)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """What ``artifact.json`` of each stage says."""
    out = folder / "out"
    return {entry.stage: read_json(out / entry.folder / "artifact.json") for entry in read_run(out)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newcomer's folder after a run that was asked to stop amid reinforcement learning, and one that went on."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name in MINE:
        shutil.copy(HERE / name, folder)
    (folder / "stop").touch()
    stopped = launch(folder, "run", "mine.gin", "--out", "out")
    assert stopped.returncode == 128 + 15, stopped.stderr
    finished = [entry.stage for entry in read_run(folder / "out") if entry.finished]
    assert finished == ["corpus", "base"]
    again = launch(folder, "run", "mine.gin", "--out", "out")
    assert again.returncode == 0, again.stderr
    return folder


@pytest.mark.slow
def test_a_stopped_run_ends_as_one_that_was_never_stopped(project: Path, tmp_path: Path):
    for name in MINE:
        shutil.copy(HERE / name, tmp_path)
    assert launch(tmp_path, "run", "mine.gin", "--out", "out").returncode == 0
    one, other = records(project), records(tmp_path)
    assert list(one) == ["corpus", "base", "zero", "imitator", "exam"]
    for stage, record in one.items():
        same = ("hash", "array_hash", "results", "learns_from")
        assert {name: record[name] for name in same} == {name: other[stage][name] for name in same}


def test_everything_of_the_module_is_part_of_what_a_stage_is(project: Path):
    told = records(project)
    assert all(list(told[stage]["sources"]) == ["mine"] for stage in ("base", "zero", "imitator", "exam"))
    assert told["corpus"]["sources"] == {}
    settings = told["zero"]["settings"]
    assert settings["loss"] == "@mine.unclipped" and settings["rewards"] == ["@mine.says_a_digit"]
    assert settings["optimizer"]["@"] == "mine.SignDescent" and settings["problems"]["tasks"][0]["@"] == "mine.Echo"
    module = project / "mine.py"
    module.write_text(module.read_text().replace("optax.trace(0.9)", "optax.trace(0.8)"))
    changed = launch(project, "run", "mine.gin", "--out", "out", "--check")
    module.write_text((HERE / "mine.py").read_text())
    assert changed.returncode == 0 and changed.stdout.count("finished") < launch(
        project, "run", "mine.gin", "--out", "out", "--check"
    ).stdout.count("finished")


def test_the_loss_has_its_metric_and_the_method_its_column(project: Path):
    out = project / "out"
    places = {entry.stage: out / entry.folder for entry in read_run(out)}
    rows = read_jsonl(places["zero"] / "metrics.jsonl")
    assert len(rows) == 4 and all(row["ratio/mean"] > 0 for row in rows)
    tables = read_json(places["exam"] / "results.json")["checkpoints"]
    columns = ["greedy", "pass@1", "best_of_4"]
    assert list(tables) == ["base", "zero", "imitator"]
    for table in tables.values():
        assert list(table) == [*(f"says_a_digit/{column}" for column in columns), "length", "distinct"]


def test_the_report_speaks_of_it_in_sensible_words(project: Path):
    done = launch(project, "report", "out")
    assert done.returncode == 0, done.stderr
    lines = (project / "out" / "report.md").read_text().splitlines()
    [told] = [line for line in lines if line.startswith("- **imitator**:")]
    assert told.startswith("- **imitator**: reinforcement learning") and "says_a_digit pass@1" in told
    assert any(line.startswith("| checkpoint |") and "best_of_4" in line for line in lines)


@pytest.mark.slow
def test_a_sweep_has_the_newcomers_column(project: Path):
    (project / "sweep.gin").write_text(
        "include 'mine.gin'\nsweep = @pipeline.Sweep\nsweep.each = {'quiz.temperature': (1.0, 0.5)}\nsweep.seeds = 2\n"
        "sweep.scores = ('exam/imitator/says_a_digit/best_of_4',)\n"
    )
    done = launch(project, "sweep", "sweep.gin", "--out", "swept")
    assert done.returncode == 0, done.stderr
    assert "best_of_4" in (project / "swept" / "table.csv").read_text()
