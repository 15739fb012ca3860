import csv
import io

import pytest
from rich.console import Console

import reasoning as r
from reasoning.report.sweep import SweepResult, show_sweep, write_table
from tests.support.small_sweep import SweepProject


@pytest.fixture
def project(tmp_path):
    return SweepProject(tmp_path)


@pytest.fixture
def result(project, capsys):
    project.write("sweep.each = {'zero.rate': (0.9,)}\nsweep.scores = ('zero/loss',)\nsweep.seeds = 2\n")
    return r.sweep(r.read(project.file, {"base.width": 2}), out=project.out)


def test_a_sweep_from_python_gives_its_table_its_runs_and_its_failures(result, project):
    assert isinstance(result, SweepResult) and result.path == project.out
    table = result.table()
    assert [found["verdict"] for found in table.rows() if found["row"] == "summary"][0] is None
    assert len(table.rows()) == 2 * (2 + 1) and table.rows()[0]["arm"] == "baseline"
    assert list(result.runs()) == [("baseline", 0), ("zero.rate=0.9", 0), ("baseline", 1), ("zero.rate=0.9", 1)]
    assert result.runs()["zero.rate=0.9", 1]["zero"].record()["settings"]["rate"] == 0.9
    assert result.runs()["zero.rate=0.9", 1]["base"].record()["settings"]["width"] == 2
    assert result.failed() == {}


def test_the_files_are_the_table(result, project):
    table = result.table()
    files = project.tables()
    assert files == {"table.md": table.markdown().encode(), "table.csv": table.csv().encode()}
    assert len(list(csv.reader(io.StringIO(table.csv())))) == 1 + len(table.rows())
    assert table._repr_markdown_() == table.markdown() and table.conclusions()[-1] in table.markdown()
    write_table(result.folder)
    assert project.tables() == files


def test_a_failed_run_is_in_the_result(project, capsys):
    project.write("sweep.each = {'zero.rate': (0.9,)}\nsweep.seeds = 1\nzero.bad_rate = 0.9\n")
    result = r.sweep(r.read(project.file), out=project.out)
    assert result.failed() == {("zero.rate=0.9", 0): "stage zero: the last 10 updates were not finite"}
    assert "failed: stage zero: the last 10 updates" in (project.out / "table.md").read_text()


def test_the_terminal_shows_the_tables_and_the_conclusions_and_no_markup_of_the_names(result):
    console = Console(width=100, record=True, file=io.StringIO())
    show_sweep(console, result.table())
    shown = console.export_text()
    assert "zero.rate=0.9" in shown and "n 2" in shown and "- 2 seeds give wide intervals" in shown
