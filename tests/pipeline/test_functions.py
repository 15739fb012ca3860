"""A reward that can't be called with the columns of its problems is refused before anything runs."""

from dataclasses import dataclass
from typing import Any

import pytest

from reasoning.core.artifact import Outcome
from reasoning.core.errors import InputError
from reasoning.evaluation.exam import Exam
from reasoning.pipeline.functions import check_rewards
from reasoning.pipeline.graph import build_graph
from reasoning.rewards.kinds import ForKinds
from reasoning.rewards.reward import Reward
from reasoning.tasks.problems import Problem, ProblemSet


@dataclass(frozen=True)
class Graded:
    """A task whose problems say how they are to be graded."""

    fails: bool = False

    def problems(self, split: str, count: int, seed: int) -> tuple[Problem, ...]:
        if self.fails:
            raise KeyError("seed")
        return tuple(Problem(f"{number}?", "0", "graded", {"rubric": number}) for number in range(count))


@dataclass(frozen=True)
class Own:
    """A user's own stage that samples."""

    name: str = "own"
    problems: ProblemSet = ProblemSet((Graded(),), "train", 2)
    best: Reward | None = None
    quiz: Exam | None = None

    def run(self, inputs: Any, out: Any, context: Any) -> Outcome:
        return Outcome("results")


def fits(completions: list[str], rubric: list[int], **columns: Any) -> list[float]: ...


def wants(completions: list[str], level: list[int], **columns: Any) -> list[float]: ...


def refused(stage: Own) -> str:
    with pytest.raises(InputError) as error:
        check_rewards(build_graph((stage,)))
    return str(error.value)


def test_a_reward_that_fits_is_passed_and_one_that_wants_another_column_is_named_with_its_stage():
    check_rewards(build_graph((Own(best=fits), Own("other"))))
    told = refused(Own(best=wants))
    assert told.startswith("stage own: the reward function ") and "wants (test_functions.py:" in told
    assert "needs level, and the problems have the columns rubric" in told


def test_rewards_inside_of_records_and_of_exams_are_looked_at_too():
    assert "needs level" in refused(Own(best=ForKinds(wants, ("graded",))))
    quiz = Exam(problems=ProblemSet((Graded(),), "test", 2), max_new_tokens=4, scores=(fits, wants))
    assert "needs level" in refused(Own(quiz=quiz))


def test_a_task_that_fails_meanwhile_is_told_as_the_users_own_code():
    told = refused(Own(best=wants, problems=ProblemSet((Graded(fails=True),), "train", 2)))
    assert "Graded.problems raised KeyError: 'seed' (test_functions.py:" in told


def test_problems_are_not_drawn_where_no_reward_asks():
    broken = ProblemSet((Graded(fails=True),), "train", 2)
    check_rewards(build_graph((Own(best=lambda **columns: [], problems=broken),)))
