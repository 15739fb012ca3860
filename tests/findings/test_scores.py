from reasoning.evaluation.results import Results, Score
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.scores import (
    compact_scores,
    grades,
    headline_scores,
    interval,
    main_grade,
    main_score,
    ordered_scores,
    ungraded,
    with_interval,
)

NAMES = (
    "lenient/greedy", "lenient/pass@1", "lenient/pass@16", "strict/greedy", "strict/pass@1", "strict/majority@16",
    "lenient/majority@16", "lenient/beam@4", "native", "tagged", "length", "distinct",
)  # fmt: skip


def evaluation(*names):
    return Evaluation("exam", Results({"base": {name: Score(0.5, 0.4, 0.6, 8) for name in names}}))


def test_headline_scores_come_first_sampling_before_other_methods_and_grades_side_by_side_in_the_file_s_order():
    assert headline_scores(NAMES) == (
        "lenient/pass@1", "strict/pass@1", "lenient/greedy", "strict/greedy", "lenient/majority@16",
        "strict/majority@16", "lenient/beam@4", "native", "length", "distinct",
    )  # fmt: skip
    assert ordered_scores(NAMES)[-2:] == ("lenient/pass@16", "tagged") and sorted(ordered_scores(NAMES)) == sorted(
        NAMES
    )


def test_a_method_of_the_user_s_own_is_a_headline_and_a_chance_among_several_samples_is_none():
    names = ("mine/pass@1", "mine/best_of_8", "mine/pass@8")
    assert headline_scores(names) == names[:2]


def test_a_narrow_table_has_votes_by_one_grade_only():
    assert "strict/majority@16" not in compact_scores(evaluation(*NAMES))
    assert "lenient/majority@16" in compact_scores(evaluation(*NAMES))
    assert compact_scores(evaluation("x", "y")) == ("x",)


def test_grades_are_what_stands_before_the_slash():
    assert grades(("answered/greedy", "lenient/greedy", "tagged", "strict/pass@1")) == ("answered", "lenient", "strict")


def test_checkpoints_are_compared_by_lenient_pass_at_1_if_there_is_one():
    assert main_score(evaluation(*NAMES)) == "lenient/pass@1"
    assert main_score(evaluation("answered/pass@1", "tagged")) == "answered/pass@1"
    assert main_score(evaluation("tagged")) == "tagged"
    assert main_score(Evaluation("exam", Results({}))) is None


def test_only_a_mean_over_samples_can_be_compared_sample_by_sample():
    assert main_grade(evaluation(*NAMES)) == "lenient"
    assert main_grade(evaluation("mine/greedy", "tagged")) == "" == main_grade(Evaluation("exam", Results({})))


def test_an_interval_is_a_range_and_its_absence_is_said():
    assert interval(Score(0.5, 0.25, 0.75, 8)) == "0.250–0.750"
    assert interval(Score(0.5, -0.25, 0.75, 8)) == "−0.250 to 0.750"
    assert interval(Score(0.5, None, None, 1)) == "no interval"
    assert with_interval(Score(0.5, 0.25, 0.75, 8)) == "0.50 (95 % interval 0.25 to 0.75)"


def test_a_share_that_was_not_graded_is_never_rounded_to_none():
    shares = {0.0: "", 0.025: "2.5 %", 1 / 3: "33.3 %", 1e-6: "0.0001 %", 1.0: "100 %"}
    assert {share: ungraded(Score(0.5, 0.4, 0.6, 8, share)) for share in shares} == shares
