import random
import sys
from fractions import Fraction
from types import ModuleType, SimpleNamespace

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.problems import Task
from reasoning.tasks.reasoning_gym import ReasoningGym
from reasoning.tasks.splits import split_of


class Items:
    """What the package's datasets are to us: item i depends on seed + i, and the seed has to suit numpy."""

    def __init__(self, make, seed, size, **settings):
        if not 0 <= seed + size < 2**32:
            raise OverflowError("seed out of range")
        self.make, self.seed, self.size, self.settings = make, seed, size, settings

    def __getitem__(self, index):
        if index >= self.size:
            raise IndexError(index)
        return self.make(random.Random(self.seed + index), **self.settings)


def sums(generator, limit=10**6):
    first, second = generator.randrange(limit), generator.randrange(limit)
    metadata = {"operands": (first, second), "difficulty": {"limit": limit}, "total": Fraction(first + second)}
    return {"question": f"{first} plus {second}?", "answer": str(first + second), "metadata": metadata}


def open_question(generator):
    return {"question": f"Colour the graph {generator.random()}", "answer": None, "metadata": {}}


@pytest.fixture
def fake_package(monkeypatch):
    package, factory = ModuleType("reasoning_gym"), ModuleType("reasoning_gym.factory")
    makers = {"sums": sums, "open_question": open_question, "word_ladder": sums}

    def create_dataset(name, *, seed, size, **settings):
        if settings.get("limit", 1) < 1:
            raise AssertionError("limit must be positive")
        unknown = set(settings) - {"limit"}
        if unknown:
            raise TypeError(f"unexpected keyword argument {unknown}")
        return Items(makers[name], seed, size, **settings)

    package.__dict__.update(create_dataset=create_dataset, factory=SimpleNamespace(DATASETS=makers))
    monkeypatch.setitem(sys.modules, "reasoning_gym", package)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", factory)


def test_problems_are_distinct_of_their_split_and_carry_the_generators_answer(fake_package):
    problems = ReasoningGym("sums").problems("test", 120, 0)
    assert len({problem.question for problem in problems}) == 120
    for problem in problems:
        first, second = problem.question.rstrip("?").split(" plus ")
        assert (problem.answer, problem.kind) == (str(int(first) + int(second)), "sums")
        assert split_of(problem.question) == "test"


def test_what_the_generator_tells_of_a_question_is_a_column(fake_package):
    for problem in ReasoningGym("sums", {"limit": 50}).problems("train", 20, 0):
        first, second = map(int, problem.question.rstrip("?").split(" plus "))
        told = {"operands": [first, second], "difficulty": {"limit": 50}, "total": problem.answer}
        assert problem.columns == {"metadata": told}


def test_the_same_seed_gives_the_same_problems_and_neighbouring_seeds_share_none(fake_package):
    task = ReasoningGym("sums")
    assert isinstance(task, Task)
    assert task.problems("train", 600, 4) == task.problems("train", 900, 4)[:600]
    questions = [{problem.question for problem in task.problems("train", 600, seed)} for seed in (4, 5)]
    assert not questions[0] & questions[1]


def test_settings_reach_the_generator(fake_package):
    problems = ReasoningGym("sums", {"limit": 10}).problems("train", 50, 0)
    assert max(int(problem.answer) for problem in problems) <= 18


def test_a_generator_that_runs_out_says_how_many_it_has(fake_package):
    available = sum(split_of(f"{first} plus {second}?") == "train" for first in range(3) for second in range(3))
    with pytest.raises(InputError, match=f"sums has only {available} distinct train questions, 100 are asked for"):
        ReasoningGym("sums", {"limit": 3}).problems("train", 100, 0)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (ReasoningGym("sumz"), "no generator 'sumz'; did you mean 'sums'"),
        (ReasoningGym("zzz"), "no generator 'zzz'; it has open_question, sums"),
        (ReasoningGym("sums", {"seed": 3}), "sets seed, which the problem set decides"),
        (ReasoningGym("sums", {"limit": 0}), "limit must be positive"),
        (ReasoningGym("sums", {"limits": 5}), "unexpected keyword argument"),
        (ReasoningGym("open_question"), "answer None, which can't be compared"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(fake_package, task, message):
    with pytest.raises(InputError, match=message):
        task.problems("train", 5, 0)


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(InputError, match=r"pip install 'reasoning-jax\[tasks\]'"):
        ReasoningGym("chain_sum").problems("train", 5, 0)


@pytest.mark.parametrize("generator", ["chain_sum", "gcd", "leg_counting", "letter_counting"])
def test_the_real_package_gives_distinct_problems_with_text_answers(generator):
    pytest.importorskip("reasoning_gym")
    problems = ReasoningGym(generator).problems("test", 20, 1)
    assert len({problem.question for problem in problems}) == 20
    assert problems == ReasoningGym(generator).problems("test", 20, 1)


def test_the_real_package_adds_up_as_python_does():
    pytest.importorskip("reasoning_gym")
    for problem in ReasoningGym("chain_sum", {"max_terms": 3}).problems("train", 50, 0):
        expression = problem.question.rpartition(": ")[2].rstrip(" =")
        assert problem.answer == str(eval(expression))


def test_the_real_package_refuses_a_wrong_setting_with_its_own_words():
    pytest.importorskip("reasoning_gym")
    with pytest.raises(InputError, match="min_terms must be positive"):
        ReasoningGym("chain_sum", {"min_terms": 0}).problems("train", 5, 0)


def test_a_generator_that_gives_other_questions_in_every_process_is_refused(fake_package):
    with pytest.raises(InputError, match="word_ladder gives other questions or answers in every process"):
        ReasoningGym("word_ladder").problems("train", 3, 0)
