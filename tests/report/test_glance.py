from dataclasses import replace

import pytest
from written_run import with_samples

from reasoning.findings.evaluations import difference
from reasoning.findings.numbers import points
from reasoning.report.document import Dots, stage_anchor
from reasoning.report.glance import glance, score_dots


@pytest.fixture(scope="module")
def first(facts):
    return glance(facts, "; seed 0", "In all 3 tokens.")


def test_where_the_interval_holds_none_nothing_is_claimed(facts):
    exam = facts.evaluations[0]
    same = with_samples(facts, {name: exam.samples["base"] for name in exam.samples})
    told = glance(same, "", "")
    assert told.verdict.startswith("Can't tell whether it learnt: lenient pass@1 from 0.28")
    notes = {note.subject: note for note in told.notes}
    assert notes["Can't tell"].anchor == "differences" and "zero over base" in notes["Can't tell"].text


def test_what_changed_most_is_the_largest_claimed_step_from_a_start(first, facts):
    gains = {
        (stage.name, exam.stage): difference(exam.samples, stage.name, stage.starts[0], "lenient")
        for exam in facts.evaluations
        for stage in facts.stages
        if stage.starts and {stage.name, stage.starts[0]} <= set(exam.samples)
    }
    most, _ = max(gains, key=lambda key: abs(gains[key].mean))
    note = first.notes[0]
    assert note.subject == "Changed most" and note.anchor == stage_anchor(most)
    assert note.text.startswith(f"{most}, {points(gains[most, _])[0]} points of lenient pass@1 (")


def test_cost_and_where_to_look_next_are_told_in_a_line_each(first, facts):
    assert [note.subject for note in first.notes] == ["Changed most", "Can't tell", "Look next", "Cost"]
    assert first.notes[2].anchor == "replies-side-by-side" and first.notes[3].text == "In all 3 tokens."
    missing = replace(facts, missing=("x", "y"))
    assert (
        "what is missing (2)" in [each.text for each in glance(missing, "", "").notes if each.subject == "Look next"][0]
    )


def test_checkpoints_are_dots_by_their_main_score_with_its_interval(first, facts):
    exam = facts.evaluations[0]
    assert [dots.title for dots in first.dots] == [
        "exam: lenient pass@1, 60 held-out problems", "students: lenient pass@1, 60 problems of the training split",
    ]  # fmt: skip
    marks = {mark.name: mark for mark in first.dots[0].marks}
    assert list(marks) == list(exam.checkpoints)
    for name, mark in marks.items():
        score = exam.checkpoints[name]["lenient/pass@1"]
        assert (mark.value, mark.low, mark.high) == (score.mean, score.low, score.high)


def test_of_many_checkpoints_the_first_and_the_last_are_shown(facts):
    exam = facts.evaluations[0]
    many = {f"c{place:02}": exam.checkpoints["base"] for place in range(30)}
    dots = score_dots(replace(exam, results=replace(exam.results, checkpoints=many)))
    assert isinstance(dots, Dots) and dots.title.endswith("(18 more below)")
    assert [mark.name for mark in dots.marks] == [*list(many)[:11], "c29"]
    assert score_dots(replace(exam, results=replace(exam.results, checkpoints={}))) is None
