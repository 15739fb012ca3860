import csv
import io

import pytest
from rich.console import Console
from sweep_rows import BASELINE, BETTER, UNCLEAR, row, sweep

import reasoning as r
from reasoning.findings.numbers import large
from reasoning.findings.sweep_words import csv_text, rows_of
from reasoning.report.document import Dots, Glance, Grid
from reasoning.report.markdown import inline
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
    assert [found["verdict"] for found in rows_of(table.numbers) if found["row"] == "summary"][0] is None
    assert len(rows_of(table.numbers)) == 2 * (2 + 1) and rows_of(table.numbers)[0]["arm"] == "baseline"
    assert list(result.runs()) == [("baseline", 0), ("zero.rate=0.9", 0), ("baseline", 1), ("zero.rate=0.9", 1)]
    assert result.runs()["zero.rate=0.9", 1]["zero"].record()["settings"]["rate"] == 0.9
    assert result.runs()["zero.rate=0.9", 1]["base"].record()["settings"]["width"] == 2
    assert result.failed() == {}


def test_the_files_are_the_table(result, project):
    table = result.table()
    files = project.tables()
    assert files == {"table.md": table.markdown().encode(), "table.csv": csv_text(table.numbers).encode()}
    assert len(list(csv.reader(io.StringIO(csv_text(table.numbers))))) == 1 + len(rows_of(table.numbers))
    assert table._repr_markdown_() == table.markdown() and table.sentences()[-1] in table.markdown()
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
        ("Higher", "b=1: exam/zero/strict/pass@1"), ("Can't tell", "1 of 2 differences to the baseline"),
        ("Look next", "into single runs, by reasoning view and this folder"),
    ]  # fmt: skip
    assert glance.ran == "3 arms, 5 seeds (0, 1, 2, 3, 4): one setting at a time against the file's own."


def test_runs_that_are_missing_from_the_numbers_are_told_first_of_all():
    for missing, told in (
        ({"failures": {5: "no memory"}}, "at what failed: 1 run"),
        ({"missing": (5, 6)}, "at what has not finished: 2 runs"),
    ):
        *_, last = first_screen(sweep(row("baseline", BASELINE), row("b=1", BETTER, BASELINE, **missing))).notes
        assert (last.subject, last.text, last.part) == ("Look next", told, "What this says")


def test_what_the_finished_runs_took_is_told_once_for_what_they_share(result):
    [cost] = [note for note in first_screen(result.table()).notes if note.subject == "Cost"]
    artifacts = {left.path.resolve(): left for run in result.runs().values() for left in run.artifacts()}
    tokens = sum(left.results.get("tokens", 0) for left in artifacts.values())
    assert f"{large(tokens)} tokens" in cost.text and cost.text.startswith("the finished runs took ")


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


def test_a_cell_is_mean_interval_and_n_with_the_difference_below_and_only_evidence_in_bold():
    table = sweep(row("baseline", BASELINE), row("b=1", BETTER, BASELINE), row("c=1", UNCLEAR, BASELINE))
    text = table.markdown()
    # Half widths are 2.776 / sqrt(5) times the deviations: 0.015811, 0.017393 and 0.057009 of the arms, 0.0015811 and
    # 0.054772 of the differences.
    lines = [
        "| arm | strict/pass@1 |",
        "| --- | ---: |",
        "| baseline | 0.520<br><sub>0.500–0.540, n 5</sub> |",
        "| b=1 | 0.622<br><sub>0.600–0.644, n 5</sub> |",
        "| difference | **+0.102**<br><sub>+0.100 to +0.104, n 5</sub> |",
        "| c=1 | 0.530<br><sub>0.459–0.601, n 5</sub> |",
        "| difference | can't tell<br><sub>+0.010 (−0.058 to +0.078, n 5)</sub> |",
    ]
    assert "\n".join(lines) in text and text.startswith("# Sweep of a.gin\n")
    assert table.sentences()[0] in text and table.sentences()[0].startswith(
        "3 arms, 5 seeds (0, 1, 2, 3, 4): one setting at a time"
    )


@pytest.mark.parametrize("text", ["_x_ <b>", "$y$", "[l](u) `c`", "www.x.org", "a|b\\", "~z~ *k* @me"])
def test_what_a_user_calls_things_is_as_inert_as_in_the_report_of_a_run(text):
    named = row(text, BASELINE, {**BASELINE})
    assert inline(text) in sweep(row("baseline", BASELINE), named).markdown() and inline(text) != text


def test_one_seed_gives_no_interval_and_says_so():
    table = sweep(row("baseline", {0: 0.5}), row("b=1", {0: 0.9}, {0: 0.5}))
    text = table.markdown()
    lines = [
        "| b=1 | 0.900<br><sub>one seed: no interval</sub> |",
        "| difference | +0.400<br><sub>one seed: no interval</sub> |",
    ]
    assert "\n".join(lines) in text
    assert "| **" not in text and "inf" not in text and "without an interval" in text
    assert any(told.startswith("One seed says nothing about the spread") for told in table.sentences()[1:])
    assert not any("looked at" in told or "can't tell" in told.lower() for told in table.sentences()[1:])
    summary = [found for found in rows_of(table.numbers) if found["row"] == "summary"][1]
    assert summary["difference"] == 0.4 and summary["n"] == 1
    assert summary["low"] is summary["difference_low"] is summary["difference_high"] is None


def test_values_without_spread_are_given_without_an_interval():
    flat = dict.fromkeys(range(5), 0.1)
    text = sweep(
        row("baseline", flat), row("b=1", dict.fromkeys(range(5), 0.3), flat), row("c=1", flat, flat)
    ).markdown()
    unknown = "in each of 5 seeds: no spread, no interval"
    assert f"| can't tell<br><sub>+0.200 ({unknown})</sub> |" in text and "| the same<br><sub>n 5</sub> |" in text
    assert f"| 0.100<br><sub>{unknown}</sub> |" in text and "| **" not in text


def test_seeds_alone_give_mean_spread_and_each_seeds_value():
    (table,) = sweep(row("baseline", {0: 0.1, 1: 0.4, 2: 0.25}), way="seeds").grids()
    assert table.columns == ("score", "mean", "lowest", "highest", "seed 0", "seed 1", "seed 2")
    assert [cell.text for cell in table.rows[0]] == [
        "strict/pass@1", "0.250", "0.100", "0.400", "0.100", "0.400", "0.250",
    ]  # fmt: skip
    (single,) = sweep(row("baseline", {0: 0.1}), way="seeds").grids()
    assert single.columns == ("score", "seed 0")


def test_many_scores_become_tables_of_one_checkpoint_each_that_fit():
    names = [f"exam/{model}/score{number}" for model in ("base", "zero") for number in range(6)] + ["zero/tokens"]
    scores = {name: BASELINE for name in names}
    found = list(sweep(row("baseline", scores), row("b=1", scores, BASELINE)).grids())
    assert [(table.caption, len(table.columns)) for table in found] == [
        ("exam/base", 5), ("exam/base", 3), ("exam/zero", 5), ("exam/zero", 3), ("zero", 2),
    ]  # fmt: skip
    assert found[0].columns[1] == "score0" and found[4].columns[1] == "tokens"


def test_failures_and_missing_runs_are_told_with_what_they_do_to_the_means():
    three = {seed: BASELINE[seed] for seed in range(3)}
    failing = row("b=1", three, BASELINE, failures={3: "diverged | at 3\nmore"}, missing=(4,))
    told = sweep(row("baseline", BASELINE), failing).sentences()[1:]
    assert "b=1, seed 3: failed: diverged | at 3" in told and "b=1: not finished for seed 4." in told
    assert any(text.startswith("Failed runs are left out") for text in told)
    assert "diverged \\| at 3" in sweep(row("baseline", BASELINE), failing).markdown()
    nothing = sweep(row("baseline", {}, missing=(0, 1)))
    assert nothing.sentences()[1] == "No run has finished, so there is nothing to conclude."
    assert nothing.sentences()[2] == "baseline: not finished for seeds 0, 1."


def test_the_csv_stays_readable_for_machines():
    table = sweep(row("baseline", {0: 1234567.5, 1: -0.00025}), row("b=1", {0: -1234567.5}, {0: 0.0, 1: 1.0}))
    text = csv_text(table.numbers)
    assert text.isascii() and "1234567.5" in text and "-0.00025" in text
    assert "−" in table.markdown() and "1.23 M" in table.markdown()
