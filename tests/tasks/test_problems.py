from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.tasks.capitals import Capitals
from reasoning.tasks.chains import Chains
from reasoning.tasks.problems import RESERVED, Problem, ProblemSet, Task, apportion, drawn, json_like, take_distinct
from reasoning.tasks.splits import split_of


@dataclass(frozen=True)
class Echo:
    """A task with the questions ``first``, ``first + 1``, … up to 99."""

    first: int
    kind: str

    def problems(self, split, count, seed):
        stream = (Problem(str(number), str(number), self.kind) for number in range(self.first, 100))
        return take_distinct(stream, split, count, self.kind)


def test_a_task_is_recognised_by_its_method_alone():
    assert isinstance(Chains(), Task)
    assert isinstance(Echo(0, "echo"), Task)
    assert not isinstance("chains", Task)


def test_equal_parts_of_each_task_by_default():
    problems = ProblemSet((Echo(0, "low"), Echo(50, "high")), "train", 10).problems()
    assert sorted(problem.kind for problem in problems) == ["high"] * 5 + ["low"] * 5


def test_weights_set_the_shares():
    problems = ProblemSet((Echo(0, "low"), Echo(50, "high")), "train", 8, weights=(1, 3)).problems()
    assert sorted(problem.kind for problem in problems) == ["high"] * 6 + ["low"] * 2


def test_tasks_that_overlap_still_give_distinct_questions():
    problems = ProblemSet((Echo(0, "first"), Echo(5, "second"), Echo(5, "third")), "train", 60).problems()
    assert len({problem.question for problem in problems}) == 60
    assert {kind: sum(problem.kind == kind for problem in problems) for kind in ("first", "second", "third")} == {
        "first": 20,
        "second": 20,
        "third": 20,
    }


def test_tasks_that_run_out_because_of_an_overlap_say_so():
    with pytest.raises(InputError, match="second has only 50 distinct test questions, .* are asked for"):
        ProblemSet((Echo(50, "first"), Echo(50, "second")), "test", 60).problems()


def test_problems_of_different_tasks_are_mixed_the_same_way_every_time():
    problems = ProblemSet((Echo(0, "low"), Echo(50, "high")), "train", 40, seed=3)
    kinds = [problem.kind for problem in problems.problems()]
    assert kinds == [problem.kind for problem in problems.problems()]
    assert 5 < kinds[:20].count("low") < 15


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0), (0.0, 0.0)])
def test_weights_that_fit_no_tasks_are_refused(weights):
    with pytest.raises(InputError, match="2 tasks has the weights"):
        ProblemSet((Echo(0, "low"), Echo(50, "high")), "train", 10, weights=weights).problems()


def test_a_set_without_tasks_is_refused():
    with pytest.raises(InputError, match="no tasks"):
        ProblemSet((), "train", 10).problems()


@given(st.integers(0, 1000), st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
def test_parts_add_up_and_are_within_one_of_the_exact_share(count, weights):
    parts = apportion(count, weights)
    assert sum(parts) == count
    assert all(abs(part - count * weight / sum(weights)) < 1 for part, weight in zip(parts, weights, strict=True))


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(2, 4), st.integers(2, 4))
def test_no_train_question_is_a_test_question_whatever_seeds_and_settings(train_seed, test_seed, shortest, other):
    train = ProblemSet((Chains(shortest, 5), Chains(2, 3)), "train", 30, train_seed).problems()
    test = ProblemSet((Chains(2, other),), "test", 8, test_seed).problems()
    assert not {problem.question for problem in train} & {problem.question for problem in test}
    assert all(split_of(problem.question) == "test" for problem in test)


def test_a_task_of_few_problems_fills_its_share_with_repeats():
    facts = Capitals()
    chosen = ProblemSet((Chains(), facts), "train", 200, weights=(3.0, 1.0), distinct=(150, 30)).problems()
    counts = Counter(problem.question for problem in chosen if problem.kind == "capitals")
    assert len(counts) == 30 and sum(counts.values()) == 50 and set(counts.values()) == {1, 2}
    chains = [problem.question for problem in chosen if problem.kind == "chains"]
    assert len(chains) == len(set(chains)) == 150


def test_as_many_numbers_of_distinct_problems_as_tasks_are_needed():
    with pytest.raises(InputError, match=r"2 tasks has distinct=\(5,\)"):
        ProblemSet((Chains(), Capitals()), "train", 10, distinct=(5,)).problems()


def test_problems_are_compared_with_their_columns_and_can_stand_in_sets():
    bare, tested = Problem("1+1?", "2", "sums"), Problem("1+1?", "2", "sums", {"tests": [[1, 2]]})
    assert bare.columns == {} and bare != tested
    assert tested == Problem("1+1?", "2", "sums", {"tests": [[1, 2]]})
    assert len({bare, tested, Problem("1+1?", "2", "sums", {"tests": [[1, 2]]})}) == 2


@pytest.mark.parametrize("name", RESERVED)
def test_a_column_named_as_what_rewards_get_anyway_is_refused(name):
    with pytest.raises(InputError, match=f"column '{name}' can't be told from what rewards get under that name anyway"):
        Problem("1+1?", "2", "sums", {"tests": [], name: "x"})


def test_values_of_columns_become_what_json_can_hold():
    value = {"a": np.array([b"x", "é".encode()], object), "b": (np.float32(1.5), {1: b"\xff"}), "c": {3}, "d": None}
    assert json_like(value, repr) == {"a": ["x", "é"], "b": [1.5, {"1": repr(b"\xff")}], "c": "{3}", "d": None}


@dataclass(frozen=True)
class Given:
    """A user's task that gives whatever it holds."""

    gives: Any

    def problems(self, split: str, count: int, seed: int) -> Any:
        return self.gives


@pytest.mark.parametrize(
    ("gives", "complaint"),
    [
        (None, r"Given.problems \(test_problems.py:\d+\) gave None; it must return a tuple of"),
        (("1+1?",), r"gave \('1\+1\?',\); it must return a tuple of"),
        ((), "gave 0 problems where 3 were asked for; it must raise InputError"),
    ],
)
def test_a_task_that_gives_no_problems_or_too_few_is_refused_with_its_place(gives, complaint):
    with pytest.raises(InputError, match=complaint):
        ProblemSet((Given(gives),), "train", 3).problems()


def test_a_task_is_exhausted_when_long_drawing_finds_nothing_new_however_many_are_wanted():
    numbers = iter(range(10**9))
    with pytest.raises(InputError, match="has only 10 distinct train questions"):
        drawn(lambda: Problem(f"{next(numbers) % 11}?", "0", "few"), "train", 10**6, "few")
    assert next(numbers) < 10_000
