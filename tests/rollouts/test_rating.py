"""Reward functions: users' own in TRL's form work, and what they return wrongly is refused by their name."""

import json
import math
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_stages import HALVES, REFUSED, TRAIN

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.accuracy import strict
from reasoning.rewards.kinds import ForKinds
from reasoning.rewards.numbers import number
from reasoning.rewards.reward import UNGRADED, Judgement, Reward, reward_name
from reasoning.rollouts.rating import (
    check_columns,
    check_judged,
    check_names,
    check_problems,
    judgements_of_all_processes,
    rate,
    remarks_on,
)
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.tasks.question_files import QuestionColumns, QuestionFile

PROBLEMS = (Problem("1+1?", "2", "sums"), Problem("2*3?", "6", "products"))
TEXTS = [["2", "<think>t</think><answer>2</answer>", "three"], ["6", "", "<think>t</think><answer>6</answer>"]]
TRUNCATED = np.array([[False, False, True], [False, True, False]])
LENGTHS = np.array([[2, 9, 5], [2, 1, 9]])


def rated(*rewards: Reward, problems: tuple[Problem, ...] = PROBLEMS) -> dict[str, np.ndarray]:
    return rate(rewards, problems, TEXTS, TRUNCATED, LENGTHS, ChatFormat()).values


def test_problems_are_shown_to_rewards_that_may_refuse_them_and_drawn_for_no_others():
    undrawable = replace(HALVES, tasks=())
    check_judged((strict, reward_len), undrawable)
    with pytest.raises(InputError, match="a problem set has no tasks"):
        check_judged((strict, number), undrawable)
    check_judged((strict, number), TRAIN)
    with pytest.raises(InputError, match=REFUSED):
        check_judged((strict, number), HALVES)
    with pytest.raises(InputError, match=REFUSED):
        check_problems((strict, number), HALVES.problems())
    check_problems((strict, ForKinds(number, ("sums", "products"))), (*PROBLEMS, *HALVES.problems()))


def reward_len(completions: list[str], **kwargs: Any) -> list[float]:
    """The first example of TRL's documentation: it names no argument but completions."""
    return [float(len(completion)) for completion in completions]


def test_a_reward_that_takes_completions_alone_works_as_in_trl():
    np.testing.assert_array_equal(rated(reward_len)["reward_len"], [[1, 34, 5], [1, 0, 34]])


def test_every_column_of_the_problem_comes_once_a_completion():
    seen = {}

    def look(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        seen.update(columns, prompts=prompts, completions=completions)
        return [0.0] * 6

    rated(look)
    assert seen["prompts"] == ["<|user|>1+1?<|assistant|>"] * 3 + ["<|user|>2*3?<|assistant|>"] * 3
    assert seen["completions"] == TEXTS[0] + TEXTS[1]
    assert seen["answer"] == ["2"] * 3 + ["6"] * 3 and seen["kind"] == ["sums"] * 3 + ["products"] * 3
    assert seen["truncated"] == [False, False, True, False, True, False] and seen["lengths"] == [2, 9, 5, 2, 1, 9]
    assert seen["chat"] == ChatFormat()


def test_our_own_rewards_are_of_the_same_form():
    np.testing.assert_array_equal(rated(strict)["strict"], [[0, 1, 0], [0, 0, 1]])


def test_none_where_a_reward_does_not_apply_comes_back_as_nan():
    def products(kind: list[str], **columns: Any) -> list[float | None]:
        return [1.0 if name == "products" else None for name in kind]

    np.testing.assert_array_equal(rated(products)["products"], [[math.nan] * 3, [1] * 3])


@dataclass(frozen=True)
class Reasoned:
    """A reward that can't grade replies without a number, says so, and has something to say of its problems."""

    def __call__(self, completions: list[str], **columns: Any) -> list[Any]:
        return [each.value for each in self.judge([], completions, **columns)]

    def judge(self, prompts: list[str], completions: list[str], **columns: Any) -> list[Judgement]:
        known = [any(letter.isdigit() for letter in text) for text in completions]
        return [Judgement(1.0, "passed") if one else Judgement(UNGRADED, "infrastructure", 3, "?") for one in known]

    def remarks(self, problems: tuple[Problem, ...]) -> tuple[str, ...]:
        return (f"{len(problems)} problems are odd",)


def test_what_was_not_graded_is_no_number_and_told_from_what_does_not_apply():
    def products(kind: list[str], **columns: Any) -> list[float | None]:
        return [1.0 if name == "products" else None for name in kind]

    given = rate((Reasoned(), products), PROBLEMS, TEXTS, TRUNCATED, LENGTHS, ChatFormat())
    missing = [[False, False, True], [False, True, False]]
    np.testing.assert_array_equal(given.ungraded["Reasoned"], missing)
    np.testing.assert_array_equal(np.isnan(given.values["Reasoned"]), missing)
    assert not given.ungraded["products"].any() and np.isnan(given.values["products"]).any()
    assert given.judgements.keys() == {"Reasoned"} and given.judgements["Reasoned"][0, 2].failing == 3
    assert judgements_of_all_processes(given.judgements["Reasoned"]) is given.judgements["Reasoned"]


def test_a_reward_for_some_kinds_hands_reasons_and_remarks_on():
    sums = ForKinds(Reasoned(), ("sums",))
    given = rate((sums,), PROBLEMS, TEXTS, TRUNCATED, LENGTHS, ChatFormat())
    name = reward_name(sums)
    assert [each.verdict for each in given.judgements[name].reshape(-1)] == ["passed", "passed", "infrastructure"] + [
        ""
    ] * 3
    assert given.ungraded[name].sum() == 1
    assert remarks_on((sums, strict), TRAIN) == ("0 problems are odd",)
    assert remarks_on((Reasoned(),), TRAIN) == (f"{TRAIN.count} problems are odd",)


def test_a_reward_that_spoils_its_lists_does_not_spoil_them_for_the_next():
    def spoiler(completions: list[str], answer: list[str], **columns: Any) -> list[float]:
        answer.clear()
        return [0.0 for _ in range(len(completions)) if completions.pop() is not None]

    np.testing.assert_array_equal(rated(spoiler, strict)["strict"], [[0, 1, 0], [0, 0, 1]])


TESTED = (
    Problem("double", "?", "code", {"tests": [[1, 2], [3, 6]], "rubric": {"short": 0.5}}),
    Problem("write", "?", "prose", {"rubric": {"kind": 1.0}, "level": 3}),
)


def test_the_columns_of_problems_come_once_a_completion_and_none_where_a_problem_lacks_one():
    seen = {}

    def look(completions: list[str], tests: list[Any], **columns: Any) -> list[float]:
        seen.update(columns, tests=tests)
        return [0.0] * len(completions)

    rated(look, problems=TESTED)
    assert seen.keys() == {"prompts", "answer", "kind", "truncated", "lengths", "chat", "tests", "rubric", "level"}
    assert seen["tests"] == [[[1, 2], [3, 6]]] * 3 + [None] * 3
    assert seen["rubric"] == [{"short": 0.5}] * 3 + [{"kind": 1.0}] * 3
    assert seen["level"] == [None] * 3 + [3] * 3


def test_a_reward_for_some_kinds_gets_their_part_of_every_column():
    def of_code(completions: list[str], tests: list[Any], rubric: list[Any], **columns: Any) -> list[float]:
        assert tests == [[[1, 2], [3, 6]]] * 3 and rubric == [{"short": 0.5}] * 3 and columns["level"] == [None] * 3
        return [float(len(text)) for text in completions]

    values = rated(ForKinds(of_code, ("code",)), problems=TESTED)["of_code_code"]
    np.testing.assert_array_equal(values, [[1, 34, 5], [math.nan] * 3])


def test_a_reward_that_spoils_a_column_spoils_it_neither_for_the_next_nor_in_the_problem():
    def spoiler(tests: list[Any], **columns: Any) -> list[float]:
        for cases in filter(None, tests):
            assert cases == [[1, 2], [3, 6]]  # the completions of one problem share nothing either
            cases.pop()[0] = 9
        return [0.0] * len(tests)

    def again(tests: list[Any], **columns: Any) -> list[float]:
        return spoiler(tests)

    rated(spoiler, again, problems=TESTED)
    assert TESTED[0].columns["tests"] == [[1, 2], [3, 6]]


def boxed(completions: list[str], ground_truth: list[str], **kwargs: Any) -> list[float]:
    """Of TRL's documentation, "Reward completions based on a reference": the data set has a column ground_truth."""
    matches = [re.search(r"\\boxed\{(.*?)\}", completion) for completion in completions]
    contents = [match.group(1) if match else "" for match in matches]
    return [1.0 if c == gt else 0.0 for c, gt in zip(contents, ground_truth, strict=True)]


def coding(prompts: list[str], completions: list[str], task: list[str], **kwargs: Any) -> list[float | None]:
    """Of TRL's documentation, "Multi-task reward functions": None for a task of another kind."""
    return [float("def " in text) if name == "coding" else None for text, name in zip(completions, task, strict=True)]


def passed(completions: list[str], tests: list[list[list[int]]], **columns: Any) -> list[float]:
    """The share of a problem's test cases that a completion, an expression in x, passes."""
    return [
        sum(eval(text, {"x": given}) == wanted for given, wanted in cases) / len(cases)
        for text, cases in zip(completions, tests, strict=True)
    ]


def test_columns_of_a_file_reach_rewards_as_they_are_written_for_trl(tmp_path: Path):
    rows = [
        {"question": "Twice x?", "answer": "x+x", "ground_truth": "2x", "task": "math", "tests": [[1, 2], [3, 6]]},
        {"question": "x and 1?", "answer": "x+1", "ground_truth": "x+1", "task": "coding", "tests": [[1, 2], [3, 4]]},
    ]
    file = tmp_path / "tested.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = QuestionFile(path=str(file), test_path=str(file), columns=QuestionColumns(marker=""))
    problems = sorted(ProblemSet((task,), "test", 2).problems(), key=lambda problem: problem.question)
    texts = [["x * 2", "x + 1"], ["x + 1", "x + x"]]
    values = rate((passed,), problems, texts, np.zeros((2, 2), bool), np.ones((2, 2), int), ChatFormat()).values
    np.testing.assert_array_equal(values["passed"], [[1, 0.5], [1, 0.5]])
    texts = [["\\boxed{2x}", "2x"], ["def f(x): ...", "\\boxed{x+1}"]]
    values = rate((boxed, coding), problems, texts, np.zeros((2, 2), bool), np.ones((2, 2), int), ChatFormat()).values
    np.testing.assert_array_equal(values["boxed"], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(values["coding"], [[math.nan] * 2, [1, 0]])


@dataclass(frozen=True)
class LongerThan:
    """A reward with settings of its own."""

    limit: int

    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return [float(len(completion) > self.limit) for completion in completions]


def test_a_record_that_can_be_called_is_a_reward_named_by_its_class():
    assert reward_name(LongerThan(4)) == "LongerThan"
    np.testing.assert_array_equal(rated(LongerThan(4))["LongerThan"], [[0, 1, 1], [0, 0, 1]])


def test_two_rewards_of_one_name_are_refused():
    check_names((LongerThan(4), reward_len), "rewards")
    with pytest.raises(InputError, match="rewards has two functions named LongerThan"):
        check_names((LongerThan(4), reward_len, LongerThan(9)), "rewards")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([1.0] * 5, "returned 5 values for 6 completions; it must return one number a completion"),
        ([1.0] * 12, "returned 12 values for 6 completions"),
        ([[1.0]] * 6, r"returned \[1.0\] for the completion '2'"),
        (1.0, "returned 1.0; it must return a list"),
        (None, "returned None; it must return a list"),
        ([1.0, 0.0, 0.0, math.nan, 0.0, 0.0], "returned nan for the completion '6'; it must return a finite number"),
        ([1.0, 0.0, 10**400, 0.0, 0.0, 0.0], "returned 10+ for the completion"),
        ([1.0, math.inf, 0.0, 0.0, 0.0, 0.0], "returned inf for the completion '<think>t</think><answer>2</answer>'"),
        (["yes"] * 6, "returned 'yes' for the completion '2'"),
    ],
)
def test_what_a_reward_returns_wrongly_is_refused_with_its_name(given: Any, complaint: str):
    def faulty(**columns: Any) -> Any:
        return given

    with pytest.raises(
        InputError, match=rf"the reward function .*test_rating.faulty \(test_rating.py:\d+\) {complaint}"
    ):
        rated(faulty)


def test_what_a_reward_raises_is_told_with_the_completion_and_the_line_of_its_code():
    def divides(completions: list[str], **columns: Any) -> list[float]:
        return [1 / len(text) for text in completions]

    def later(completions: list[str], **columns: Any) -> Any:
        for text in completions:
            yield 1 / len(text)

    for reward in (divides, later):
        with pytest.raises(InputError) as refused:
            rated(reward)
        assert re.match(
            rf"the reward function .*{reward.__name__} \(test_rating.py:\d+\) raised ZeroDivisionError: division by "
            r"zero for the completion '' \(test_rating.py:\d+ in .*: .*1 / len\(text\)",
            str(refused.value),
        )


def test_a_reward_for_some_kinds_is_blamed_where_it_raises():
    def divides(completions: list[str], **columns: Any) -> list[float]:
        return [1 / (len(text) - 1) for text in completions]

    with pytest.raises(InputError, match=r"raised ZeroDivisionError: .* for the completion '6' \(test_rating.py:"):
        rated(ForKinds(divides, ("products",)))


def test_lambdas_and_partials_are_rewards_too():
    def scaled(completions: list[str], factor: float, **columns: Any) -> list[float]:
        return [factor * len(text) for text in completions]

    halved, longer = partial(scaled, factor=0.5), lambda completions, **columns: [len(each) for each in completions]
    check_columns((halved, longer), replace(HALVES, tasks=()))
    values = rated(halved, longer)
    np.testing.assert_array_equal(values["scaled"] * 2, values["<lambda>"])
    with pytest.raises(InputError, match="two functions named scaled"):
        check_names((halved, partial(scaled, factor=1.0)), "rewards")


@dataclass(frozen=True)
class Levelled:
    """A task whose problems have one column."""

    column: str = "level"

    def problems(self, split: str, count: int, seed: int) -> tuple[Problem, ...]:
        return tuple(Problem(f"{number}?", "0", "level", {self.column: number}) for number in range(count))


def test_a_reward_that_wants_another_column_or_cannot_take_one_is_refused_by_its_parameters():
    def wants(completions: list[str], rubric: list[Any], **columns: Any) -> list[float]: ...

    def closed(prompts: Any, completions: Any, answer: Any, kind: Any, truncated: Any, lengths: Any, chat: Any): ...

    asked = ProblemSet((Levelled(),), "train", 2)
    with pytest.raises(InputError, match=r"wants \(test_rating.py:\d+\) needs rubric, and the .* the columns level"):
        check_columns((wants,), asked)
    with pytest.raises(InputError, match=r"closed .* has no parameter \*\*columns, and the .* the columns level"):
        check_columns((strict, closed), asked)
    check_columns((closed,), HALVES)
    check_columns((wants,), replace(asked, tasks=(Levelled("rubric"),)))


def test_numbers_of_any_library_count():
    def mixed(**columns: Any) -> list[Any]:
        return [True, np.float32(0.5), np.int64(2), 1, 0.25, np.array(3.0)]

    np.testing.assert_array_equal(rated(mixed)["mixed"], [[1, 0.5, 2], [1, 0.25, 3]])


def test_an_exam_of_training_questions_is_refused_before_the_run(tmp_path: Path):
    file = tmp_path / "both.jsonl"
    file.write_text('{"question": "1?", "answer": "1"}\n{"question": "2?", "answer": "2"}\n')
    task = QuestionFile(path=str(file), test_path=str(file), columns=QuestionColumns(marker=""))
    with pytest.raises(InputError, match="2 of the 2 questions in .*both.jsonl are questions of"):
        check_judged((strict,), ProblemSet((task,), "test", 2))
    check_judged((strict,), ProblemSet((replace(task, allow_leaks=True),), "test", 2))
    check_judged((strict,), ProblemSet((task,), "train", 2))
