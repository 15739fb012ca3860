import pytest

from reasoning.core.statistics import Interval
from reasoning.report.scores import (
    compact_scores,
    grades,
    headline_scores,
    interval,
    large,
    main_score,
    ordered_scores,
    points,
    share,
    short,
    signed,
    with_interval,
    with_minus,
)
from reasoning.report.table import Evaluation, Score

NAMES = (
    "lenient/greedy", "lenient/pass@1", "lenient/pass@16", "strict/greedy", "strict/pass@1", "strict/majority@16",
    "lenient/majority@16", "lenient/beam@4", "native", "tagged", "length", "distinct",
)  # fmt: skip


def evaluation(*names):
    return Evaluation("exam", None, {"base": {name: Score(0.5, 0.4, 0.6, 8) for name in names}})


def test_headline_scores_come_first_by_measure_and_strict_before_lenient():
    assert headline_scores(NAMES) == (
        "strict/pass@1", "lenient/pass@1", "strict/greedy", "lenient/greedy", "strict/majority@16",
        "lenient/majority@16", "lenient/beam@4", "tagged", "length", "distinct",
    )  # fmt: skip
    assert ordered_scores(NAMES)[-2:] == ("lenient/pass@16", "native") and sorted(ordered_scores(NAMES)) == sorted(
        NAMES
    )


def test_a_narrow_table_has_votes_by_one_grade_only():
    assert "strict/majority@16" not in compact_scores(evaluation(*NAMES))
    assert "lenient/majority@16" in compact_scores(evaluation(*NAMES))
    assert compact_scores(evaluation("x", "y")) == ("x", "y")


def test_grades_are_what_stands_before_the_slash():
    assert grades(("answered/greedy", "lenient/greedy", "tagged", "strict/pass@1")) == ("strict", "lenient", "answered")


def test_checkpoints_are_compared_by_lenient_pass_at_1_if_there_is_one():
    assert main_score(evaluation(*NAMES)) == "lenient/pass@1"
    assert main_score(evaluation("answered/pass@1", "tagged")) == "answered/pass@1"
    assert main_score(evaluation("tagged")) == "tagged"
    assert main_score(Evaluation("exam", None, {})) is None


@pytest.mark.parametrize(
    ("value", "long", "brief"),
    [(0.12345, "0.123", "0.12"), (24.26, "24.3", "24.3"), (12345.6, "12,346", "12,346"), (-0.5, "−0.500", "−0.50"),
     (-0.0001, "0.000", "0.00")],
)  # fmt: skip
def test_numbers_have_as_many_digits_as_their_size_asks_for(value, long, brief):
    assert (share(value), short(value)) == (long, brief)


def test_an_interval_is_a_range_and_its_absence_is_said():
    assert interval(Score(0.5, 0.25, 0.75, 8)) == "0.250–0.750"
    assert interval(Score(0.5, -0.25, 0.75, 8)) == "−0.250 to 0.750"
    assert interval(Score(0.5, None, None, 1)) == "no interval"
    assert with_interval(Score(0.5, 0.25, 0.75, 8)) == "0.50 (95 % interval 0.25 to 0.75)"


@pytest.mark.parametrize(
    ("found", "written"),
    [
        (Interval(0.66, 0.63, 0.69, 512), ("+66", "63 to 69")),
        (Interval(-0.1, -0.13, 0.02, 512), ("−10", "−13 to 2")),
        (Interval(0.004, -0.02, 0.029, 512), ("+0.4", "−2.0 to 2.9")),
        (Interval(0.006, 0.0003, 0.0112, 512), ("+0.60", "0.03 to 1.12")),
        (Interval(0.0, -0.063, 0.063, 60), ("0.0", "−6.3 to 6.3")),
    ],
)
def test_a_difference_is_written_in_points_with_as_many_digits_as_it_supports(found, written):
    assert points(found) == written


def test_large_counts_are_written_by_thousands():
    written = [large(value) for value in (950, 9999, 25600, 2.352e6, 1.2e15)]
    assert written == [
        "950",
        "9,999",
        "25.6 k",
        "2.35 M",
        "1.2 P",
    ]


def test_zero_has_no_sign():
    assert signed(-0.01, 1) == "0.0" and signed(0.5, 0) == "0" and signed(-1.5, 1) == "−1.5"
    assert with_minus("-0.00") == "0.00"
