from dataclasses import replace

import pytest
from written_run import with_samples

from reasoning.report.document import Dots
from reasoning.report.glance import glance, score_dots


@pytest.fixture(scope="module")
def first(facts):
    return glance(facts)


def test_where_the_interval_holds_none_nothing_is_claimed(facts):
    exam = facts.evaluations[0]
    same = with_samples(facts, {name: exam.samples["base"] for name in exam.samples})
    assert glance(same).verdict.startswith("Can't tell whether it learnt: lenient pass@1 from 0.28")


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
