"""From replies to a table: which sample a vote elects, what it scores, and how columns, kinds and intervals come out.

Shapes: P problems, S samples, V votes.
"""

import json
from typing import Any

import numpy as np
import pytest
import tiny_stages

from reasoning.core.statistics import mean_over_problems, mean_with_interval, pass_at_k
from reasoning.evaluation.exam import Answers
from reasoning.evaluation.tables import Replies, elections, from_json, rows, scores_of_elected, tables, to_json
from reasoning.rewards.accuracy import strict
from reasoning.rewards.format import tagged
from reasoning.tasks.problems import Problem

EXAM = tiny_stages.quiz(scores=(strict,), rates=(tagged,))
PROBLEMS = (Problem("1+1?", "2", "sums"), Problem("2+2?", "4", "sums"), Problem("France?", "Paris", "capitals"))


def answers(said: list[list[str | None]], log_probs: Any = None, right: str = "rr") -> Answers:
    """Replies that say these things, likely alike by default; those that say ``right`` score 1."""
    shape = (len(said), len(said[0]))
    scores = np.array([[float(answer == right) for answer in given] for given in said])
    values = np.full(shape, -1.0) if log_probs is None else np.array(log_probs, np.float64)
    texts = [[f"={answer}" for answer in given] for given in said]
    lengths = np.arange(1, 1 + shape[0] * shape[1]).reshape(shape)
    return Answers(texts, lengths, {"strict": scores, "tagged": 1 - scores}, values, said)


@pytest.mark.parametrize(
    ("said", "size", "elected"),
    [
        (["6", "7", "7", "7"], 4, [1]),  # the first sample with the winning answer
        (["6", "7", "7", "6"], 4, [0]),
        (["6", "7", "7", "7"], 2, [0, 2]),
        (["6", "7", "7", "7", "6"], 2, [0, 2]),  # a sample that makes no whole vote is left out
        ([None, None, "7", None], 2, [-1, 2]),
        ([None, "5", None, "5"], 4, [1]),
        (["6", "7", "8"], 1, [0, 1, 2]),
        ([None, "7"], 1, [-1, 1]),
    ],
)
def test_a_vote_elects_a_sample(said, size, elected):
    assert elections(answers([said, said]), size, weighted=False).tolist() == [elected, elected]


def test_a_weighted_vote_elects_by_probability():
    said, log_probs = [["6", "7", "7", "8"]], [[-1.0, -3.0, -3.0, -9.0]]
    assert elections(answers(said, log_probs), 4, weighted=True).tolist() == [[0]]
    assert elections(answers(said, log_probs), 4, weighted=False).tolist() == [[1]]
    assert elections(answers(said, [[-1.0, -1.5, -1.5, -9.0]]), 4, weighted=True).tolist() == [[1]]


def test_a_vote_scores_what_its_sample_scores_and_without_an_answer_zero():
    scores = np.array([[0.0, 1.0, 0.5], [1.0, 1.0, 1.0]])
    assert scores_of_elected(scores, np.array([[1, 2], [-1, 0]])).tolist() == [[1.0, 0.5], [0.0, 1.0]]


SAMPLED = answers(
    [["rr", "6", None, "rr"], ["5", "rr", "6", "6"], ["rr", "rr", "rr", "rr"]],
    [[-1.0, -5.0, -1.0, -5.0], [-9.0, -1.0, -3.0, -3.0], [-1.0] * 4],
)
GREEDY, BEAM = answers([["rr"], ["5"], ["rr"]]), answers([["rr"], ["rr"], ["5"]])


def replies(**changes: Any) -> Replies:
    return Replies(**{"greedy": GREEDY, "sampled": SAMPLED, "beam": BEAM, "beams": 4, "further": {}, **changes})


def test_each_column_is_the_mean_of_its_numbers_with_an_interval_over_problems():
    found = tables(EXAM, PROBLEMS, replies(), ks=(2,), votes=(2, 4))["checkpoints"]
    right = np.array([2, 1, 4])
    expected = {
        "strict/greedy": mean_over_problems(np.array([1.0, 0.0, 1.0])),
        "strict/pass@1": mean_over_problems(SAMPLED.scores["strict"]),
        "strict/pass@2": mean_over_problems(pass_at_k(right, 4, 2)),
        "strict/majority@2": mean_over_problems(np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])),
        "strict/weighted@2": mean_over_problems(np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])),
        "strict/majority@4": mean_over_problems(np.array([1.0, 0.0, 1.0])),
        "strict/weighted@4": mean_over_problems(np.array([1.0, 1.0, 1.0])),
        "strict/beam@4": mean_over_problems(np.array([1.0, 1.0, 0.0])),
        "tagged": mean_over_problems(SAMPLED.scores["tagged"]),
        "length": mean_with_interval(np.array([2.5, 6.5, 10.5])),
        "distinct": mean_with_interval(np.array([2.0, 3.0, 1.0])),
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == {"mean": value.mean, "low": value.low, "high": value.high, "n": 3}, name


def test_votes_and_passes_that_need_more_samples_are_left_out():
    found = tables(EXAM, PROBLEMS, replies(beam=None), ks=(2, 8), votes=(8,))["checkpoints"]
    assert list(found) == ["strict/greedy", "strict/pass@1", "strict/pass@2", "tagged", "length", "distinct"]


def test_a_kind_of_one_problem_has_no_interval_of_its_length():
    kinds = tables(EXAM, PROBLEMS, replies(), ks=(), votes=())["kinds"]
    assert list(kinds) == ["capitals", "sums"]
    assert kinds["capitals"]["length"] == {"mean": 10.5, "low": None, "high": None, "n": 1}
    assert kinds["capitals"]["strict/pass@1"] == {"mean": 1.0, "low": 0.0, "high": 1.0, "n": 1}
    assert kinds["sums"]["strict/pass@1"]["mean"] == 3 / 8
    assert "Infinity" not in json.dumps(kinds)


def test_without_kinds_and_styles_there_are_no_tables_of_them():
    alike = [Problem("1+1?", "2", "sums")] * 3
    assert list(tables(EXAM, alike, replies(), ks=(), votes=())) == ["checkpoints"]
    further = {"direct": answers([["rr", "5"]] * 3)}
    found = tables(EXAM, alike, replies(further=further), ks=(2, 4), votes=(2,))
    assert list(found) == ["checkpoints", "prompts"]
    names = ["strict/pass@1", "strict/pass@2", "strict/majority@2", "strict/weighted@2", "tagged", "length", "distinct"]
    assert list(found["prompts"]["direct"]) == names
    assert found["prompts"]["direct"]["strict/pass@1"]["mean"] == 0.5


def test_replies_come_back_from_their_file_as_they_were():
    back = from_json(json.loads(json.dumps(to_json(SAMPLED))))
    assert back.texts == SAMPLED.texts and back.said == SAMPLED.said
    for name in ("lengths", "log_probs"):
        np.testing.assert_array_equal(getattr(back, name), getattr(SAMPLED, name))
    assert {name: values.tolist() for name, values in back.scores.items()} == {
        name: values.tolist() for name, values in SAMPLED.scores.items()
    }


def test_a_line_holds_all_replies_to_one_problem():
    further = {"direct": answers([["rr"], ["5"], [None]])}
    line = rows("zero", PROBLEMS, replies(further=further))[1]
    assert line == {
        "checkpoint": "zero",
        "problem": 1,
        "question": "2+2?",
        "answer": "4",
        "kind": "sums",
        "greedy": "=5",
        "scores": {"strict": 0.0, "tagged": 1.0},
        "samples": ["=5", "=rr", "=6", "=6"],
        "sample_scores": {"strict": [0.0, 1.0, 0.0, 0.0], "tagged": [1.0, 0.0, 1.0, 1.0]},
        "sample_lengths": [5, 6, 7, 8],
        "sample_log_probs": [-9.0, -1.0, -3.0, -3.0],
        "sample_answers": ["5", "rr", "6", "6"],
        "beam": "=rr",
        "beam_scores": {"strict": 1.0, "tagged": 0.0},
        "prompts": {
            "direct": {
                "samples": ["=5"],
                "sample_scores": {"strict": [0.0], "tagged": [1.0]},
                "sample_lengths": [2],
                "sample_log_probs": [-1.0],
                "sample_answers": ["5"],
            }
        },
    }
