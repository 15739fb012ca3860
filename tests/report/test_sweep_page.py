from sweep_rows import BASELINE, BETTER, UNCLEAR, row, sweep

from reasoning.report.document import Dots, Glance, Grid
from reasoning.report.page import page
from reasoning.report.sweep_page import sweep_report


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
    ]  # fmt: skip


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
