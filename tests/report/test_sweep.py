import csv
import io

import pytest
from rich.console import Console
from sweep_rows import BASELINE, BETTER, UNCLEAR, row, sweep

import reasoning as r
from reasoning.report.document import Dots, Glance, Grid
from reasoning.report.page import page
from reasoning.report.sweep import SweepResult, show_sweep, sweep_report, write_table
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


def first_screen(table):
    [glance] = sweep_report(table).sections[0].blocks
    assert isinstance(glance, Glance)
    return glance


def test_arms_are_dots_beside_their_paired_differences():
    table = sweep(row("baseline", BASELINE), row("b=1", BETTER, BASELINE), row("c=1", UNCLEAR, BASELINE))
    means, gaps = first_screen(table).dots
    score = "exam/zero/strict/pass@1"
    arms = table.numbers.arms
    assert isinstance(means, Dots) and [mark.name for mark in means.marks] == ["baseline", "b=1", "c=1"]
    for mark, arm in zip(means.marks, arms, strict=True):
        own = arm.scores[score].mean
        assert own is not None and (mark.value, mark.low, mark.high) == (own.mean, own.low, own.high)
    assert gaps.zero and [(mark.name, mark.tone, mark.text) for mark in gaps.marks] == [
        ("b=1", "up", "+0.102"), ("c=1", "unsure", "+0.010"),
    ]  # fmt: skip


def test_the_verdict_counts_what_is_claimed_of_the_first_score():
    table = sweep(row("baseline", BASELINE), row("b=1", BETTER, BASELINE), row("c=1", UNCLEAR, BASELINE))
    glance = first_screen(table)
    assert glance.verdict.endswith("beside the baseline: of 2 other arms 1 higher, 1 can't tell.")
    assert [(note.subject, note.text) for note in glance.notes] == [
        ("Higher", "b=1: exam/zero/strict/pass@1"), ("Can't tell", "c=1: exam/zero/strict/pass@1"),
        ("Look next", "into single runs, by reasoning view and this folder"),
    ]  # fmt: skip
    assert glance.ran == "3 arms, 5 seeds (0, 1, 2, 3, 4): one setting at a time against the file's own."


def test_runs_that_are_missing_from_the_numbers_are_told_first_of_all():
    for missing, told in (
        ({"failures": {5: "no memory"}}, "at what failed: 1 run"),
        ({"missing": (5, 6)}, "at what has not finished: 2 runs"),
    ):
        *_, last = first_screen(sweep(row("baseline", BASELINE), row("b=1", BETTER, BASELINE, **missing))).notes
        assert (last.subject, last.text, last.anchor) == ("Look next", told, "what-this-says")


def test_one_arm_one_seed_and_no_run_at_all_have_no_interval_to_show():
    one = first_screen(sweep(row("baseline", {0: 0.5}), way="seeds"))
    assert one.dots[0].marks[0].low is None and len(one.dots) == 1
    none = first_screen(sweep(row("baseline", {"a": {}}, missing=(0,)), way="seeds"))
    assert none.verdict.startswith("No run has finished") and none.dots == ()


def test_the_page_has_the_tables_too():
    table = sweep(row("baseline", BASELINE), row("b=1", BETTER, BASELINE))
    report = sweep_report(table)
    assert [part.title for part in report.sections] == ["At a glance", "Results", "What this says"]
    assert any(isinstance(block, Grid) for block in report.sections[1].blocks)
    assert page(report).startswith("<!doctype html>")


def test_a_difference_that_is_rounding_beside_its_interval_is_written_as_nothing():
    table = sweep(row("baseline", {0: 0.1, 1: 0.2}), row("b=1", {0: 0.3, 1: 1e-9}, {0: 0.1, 1: 0.2}))
    assert first_screen(table).dots[1].marks[0].text.strip("+−").strip("0.") == ""
