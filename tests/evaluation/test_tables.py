"""From replies to a table: how columns, kinds and intervals come out, and that rows hold all that was replied.

Shapes: P problems, S samples.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_stages

from reasoning.core.errors import InputError
from reasoning.core.statistics import mean_over_problems, mean_with_interval, pass_at_k
from reasoning.evaluation.classes import CalibrationError, macro_f1
from reasoning.evaluation.exam import Answers
from reasoning.evaluation.methods import Beam, Greedy, Samples, columns_of, tokens_of
from reasoning.evaluation.results import Confusion, Replies, Score, read_samples, write_samples
from reasoning.evaluation.tables import answers_of, by_kind, confusions, measured, rows_of, spent, tabulate, values_of
from reasoning.rewards.accuracy import strict
from reasoning.rewards.format import tagged
from reasoning.tasks.problems import Problem

EXAM = tiny_stages.quiz(scores=(strict,), rates=(tagged,))
PROBLEMS = (Problem("1+1?", "2", "sums"), Problem("2+2?", "4", "sums"), Problem("France?", "Paris", "capitals"))


def answers(given: list[list[str | None]], log_probs: Any = None, right: str = "rr") -> Answers:
    """Replies with these answers, likely alike by default; those that answer ``right`` score 1."""
    shape = (len(given), len(given[0]))
    scores = np.array([[float(answer == right) for answer in group] for group in given])
    values = np.full(shape, -1.0) if log_probs is None else np.array(log_probs, np.float64)
    texts = [[f"={answer}" for answer in group] for group in given]
    lengths = np.arange(1, 1 + shape[0] * shape[1]).reshape(shape)
    return Answers(texts, lengths, {"strict": scores, "tagged": 1 - scores}, values, given)


SAMPLED = answers(
    [["rr", "6", None, "rr"], ["5", "rr", "6", "6"], ["rr", "rr", "rr", "rr"]],
    [[-1.0, -5.0, -1.0, -5.0], [-9.0, -1.0, -3.0, -3.0], [-1.0] * 4],
)
GREEDY, BEAM = answers([["rr"], ["5"], ["rr"]]), answers([["rr"], ["rr"], ["5"]])
ASKED = ((Greedy(), GREEDY), (Samples(ks=(2,), votes=(2, 4)), SAMPLED), (Beam(beams=4), BEAM))


def test_each_column_is_the_mean_of_its_numbers_with_an_interval_over_problems():
    table = tabulate(values_of(EXAM, ASKED), range(3))
    expected = {
        "strict/greedy": mean_over_problems(np.array([1.0, 0.0, 1.0])),
        "strict/pass@1": mean_over_problems(SAMPLED.scores["strict"]),
        "strict/pass@2": mean_over_problems(pass_at_k(np.array([2, 1, 4]), 4, 2)),
        "strict/majority@2": mean_over_problems(np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])),
        "strict/weighted@2": mean_over_problems(np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])),
        "strict/majority@4": mean_over_problems(np.array([1.0, 0.0, 1.0])),
        "strict/weighted@4": mean_over_problems(np.array([1.0, 1.0, 1.0])),
        "strict/beam@4": mean_over_problems(np.array([1.0, 1.0, 0.0])),
        "tagged": mean_over_problems(SAMPLED.scores["tagged"]),
        "length": mean_with_interval(np.array([2.5, 6.5, 10.5])),
        "distinct": mean_with_interval(np.array([2.0, 3.0, 1.0])),
    }
    assert list(table) == list(expected)
    for name, value in expected.items():
        assert table[name] == Score(value.mean, value.low, value.high, 3), name


def test_rates_and_amounts_are_of_the_method_with_the_most_replies_whatever_their_order():
    one, other = (tabulate(values_of(EXAM, asked), range(3)) for asked in (ASKED, ASKED[::-1]))
    assert {name: one[name] for name in ("tagged", "length", "distinct")}.items() <= other.items()


def test_numbers_of_one_value_are_one_answer_and_texts_are_compared_as_they_stand():
    spelled = answers([["6", "6.0", "$6", "7"], ["1,000", "1000", "-1000", "\u22121000"], ["a", "A", "a", None]])
    np.testing.assert_array_equal(values_of(EXAM, ((Samples(), spelled),)).amounts["distinct"], [2, 2, 2])


def test_two_methods_with_one_column_are_refused():
    with pytest.raises(InputError, match="two methods have the column pass@1, one of them samples; rename it"):
        values_of(EXAM, (ASKED[1], ASKED[1]))


@pytest.mark.parametrize(("name", "column"), [("strict", "strict/greedy"), ("tagged", "tagged")])
def test_values_that_are_no_shares_are_refused_by_their_column(name: str, column: str):
    long = answers([["rr"], ["5"], ["rr"]])
    long.scores[name][1] = 12.5
    with pytest.raises(InputError, match=f"{column} has the value 12.5; an exam's scores and rates lie in 0..1"):
        values_of(EXAM, ((Greedy(), long),))


def test_a_kind_of_one_problem_has_no_interval_of_its_length():
    kinds = by_kind(values_of(EXAM, ASKED), PROBLEMS)
    assert list(kinds) == ["capitals", "sums"]
    assert kinds["capitals"]["length"] == Score(10.5, None, None, 1)
    assert kinds["capitals"]["strict/pass@1"] == Score(1.0, 0.0, 1.0, 1)
    assert kinds["sums"]["strict/pass@1"].mean == 3 / 8


def test_a_kind_of_which_nothing_was_graded_has_no_such_column_and_the_others_stay():
    values = values_of(EXAM, ASKED)
    lost = {
        name: np.where(np.arange(3).reshape(-1, *[1] * (each.ndim - 1)) == 2, np.nan, each)
        for name, each in values.shares.items()
        if name.startswith("strict/")
    }
    kinds = by_kind(replace(values, shares=values.shares | lost), PROBLEMS)
    assert kinds["sums"] == by_kind(values, PROBLEMS)["sums"]
    assert not kinds["capitals"].keys() & lost.keys() and kinds["capitals"]["length"].n == 1
    every = tabulate(replace(values, shares=values.shares | lost), range(3))
    assert every["strict/pass@1"].mean == kinds["sums"]["strict/pass@1"].mean
    with pytest.raises(InputError, match="no reply was graded for strict/"):
        tabulate(replace(values, shares=values.shares | lost), [2])


def test_problems_of_one_kind_have_no_tables_by_kind():
    assert by_kind(values_of(EXAM, ASKED), [Problem("1+1?", "2", "sums")] * 3) == {}


def test_replies_come_back_from_their_file_as_they_were(tmp_path):
    write_samples(tmp_path / "part.jsonl", rows_of("zero", PROBLEMS, SAMPLED, "samples"))
    back = answers_of(read_samples(tmp_path / "part.jsonl"))
    assert back.texts == SAMPLED.texts and back.answers == SAMPLED.answers
    for name in ("lengths", "log_probs"):
        np.testing.assert_array_equal(getattr(back, name), getattr(SAMPLED, name))
    assert json.dumps({name: values.tolist() for name, values in back.scores.items()}) == json.dumps(
        {name: values.tolist() for name, values in SAMPLED.scores.items()}
    )


def test_what_a_method_took_comes_back_too_and_has_its_table(tmp_path):
    beam = replace(BEAM, spent=np.array([7, 8, 12]))
    write_samples(tmp_path / "part.jsonl", rows_of("zero", PROBLEMS, beam, "beam@4"))
    back = answers_of(read_samples(tmp_path / "part.jsonl"))
    assert back.spent is not None and back.spent.tolist() == [7, 8, 12]
    assert answers_of(rows_of("zero", PROBLEMS, BEAM, "beam@4")).spent is None
    table, expected = spent((ASKED[0], (Beam(beams=4), back))), mean_with_interval(np.array([7.0, 8.0, 12.0]))
    assert list(table) == ["greedy", "beam@4"] and table["greedy"].mean == GREEDY.lengths.mean()
    assert table["beam@4"] == Score(9.0, expected.low, expected.high, 3)


def test_a_method_takes_the_tokens_of_all_that_it_decodes():
    lengths = np.array([[1, 2, 3, 4], [5, 5, 5, 9], [1, 1, 1, 1]])
    sampled, method = replace(SAMPLED, lengths=lengths), Samples(ks=(2,), votes=(2, 3))
    tokens = tokens_of(method, sampled)
    expected = {"pass@1": [2.5, 6, 1], "pass@2": [5, 12, 2], "majority@2": [5, 12, 2], "majority@3": [6, 15, 3]}
    assert tokens.keys() == columns_of(method, sampled, "strict").keys()
    assert {name: tokens[name].tolist() for name in expected} == expected
    # One reply that is picked from several took all of them; one that was kept by an older version, as many as beams.
    assert tokens_of(Greedy(), sampled.pick([0, 1, 2]))["greedy"].tolist() == [10, 24, 4]
    assert tokens_of(Beam(beams=3), replace(SAMPLED, lengths=lengths[:, :1]))["beam@3"].tolist() == [3, 15, 3]


def test_a_row_holds_all_replies_to_one_problem_by_one_method():
    assert rows_of("zero", PROBLEMS, SAMPLED, "samples", "direct", first=6)[1] == Replies(
        checkpoint="zero",
        problem=7,
        question="2+2?",
        answer="4",
        kind="sums",
        method="samples",
        style="direct",
        texts=("=5", "=rr", "=6", "=6"),
        lengths=(5, 6, 7, 8),
        log_probs=(-9.0, -1.0, -3.0, -3.0),
        answers=("5", "rr", "6", "6"),
        scores={"strict": (0.0, 1.0, 0.0, 0.0), "tagged": (1.0, 0.0, 1.0, 1.0)},
    )


CLASSES = replace(EXAM, measures=(macro_f1, CalibrationError()))
LETTERS = tuple(Problem(f"{row}?", letter, "letters") for row, letter in enumerate("aabb"))
DRAWN = answers([["a", "a"], ["a", "b"], ["b", "b"], ["b", "x"]])
WEIGHED = replace(
    answers([["a"], ["b"], ["b"], ["b"]]),
    probabilities=[{"a": 0.9, "b": 0.1}, {"a": 0.4, "b": 0.6}, {"a": 0.3, "b": 0.7}, {"a": 0.2, "b": 0.8}],
)


def test_measures_are_columns_of_each_method_that_they_apply_to():
    asked = ((Samples(), DRAWN), (Greedy(), WEIGHED))
    table = measured(CLASSES, asked, LETTERS, range(4))
    assert list(table) == ["macro_f1/samples", "macro_f1/greedy", "calibration_error/greedy"]
    # By samples: a 1.5 of 2, none too many; b 1.5 of 2, .5 too many. By greedy: a 1 of 2, b 2 of 2 and one too many.
    assert table["macro_f1/samples"].mean == pytest.approx((2 * 1.5 / (2 + 1.5) + 2 * 1.5 / (2 + 2)) / 2)
    assert table["macro_f1/greedy"].mean == pytest.approx((2 * 1 / (2 + 1) + 2 * 2 / (2 + 3)) / 2)
    gaps = (abs(0.9 - 1), abs(0.6 - 0), abs(0.7 - 1), abs(0.8 - 1))
    assert table["calibration_error/greedy"].mean == pytest.approx(sum(gaps) / 4)
    assert all(score.n == 4 and 0 <= score.low < score.mean < score.high <= 1 for score in table.values())
    part = measured(CLASSES, asked, LETTERS, [0, 2])
    assert part["macro_f1/greedy"].mean == 1.0 and part["macro_f1/greedy"].n == 2


def test_confusions_are_of_exams_with_measures():
    assert confusions(EXAM, ((Samples(), DRAWN),), LETTERS) == {}
    assert confusions(CLASSES, ((Samples(), DRAWN), (Greedy(), WEIGHED)), LETTERS) == {
        "samples": Confusion(("a", "b"), ((3, 1, 0), (0, 3, 1))),
        "greedy": Confusion(("a", "b"), ((1, 1, 0), (0, 2, 0))),
    }


def test_a_measure_outside_zero_to_one_is_refused():
    def doubled(outcomes: Any, weight_P: np.ndarray) -> float:
        return 2.0

    with pytest.raises(InputError, match="doubled/samples is 2; a measure lies in 0..1"):
        measured(replace(EXAM, measures=(doubled,)), ((Samples(), DRAWN),), LETTERS, range(4))


def test_probabilities_go_to_rows_and_back():
    rows = rows_of("base", LETTERS, WEIGHED, "greedy")
    assert [row.probabilities for row in rows] == WEIGHED.probabilities
    assert answers_of(rows).probabilities == WEIGHED.probabilities
    assert answers_of(rows_of("base", LETTERS, DRAWN, "samples")).probabilities == []
