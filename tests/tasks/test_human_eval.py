import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox.records import Script, read_tests
from reasoning.tasks.human_eval import HumanEval


@pytest.fixture(scope="module")
def problems():
    return HumanEval().problems("test", 164, 0)


def test_there_are_all_the_functions_once_in_an_order_of_the_seed(problems):
    assert len({problem.question for problem in problems}) == 164
    assert problems[:20] == HumanEval().problems("test", 20, 0) != HumanEval().problems("test", 20, 1)


def test_answers_hold_the_assertions_and_unfinished_functions_do_not(problems):
    for problem in problems[:60]:
        (test,) = read_tests(problem.columns["tests"])
        assert isinstance(test, Script)
        names: dict = {}
        exec(test.setup + problem.answer + "\n" + test.script, names)
        with pytest.raises((AssertionError, TypeError, IndexError)):
            exec(test.setup + test.script, {})


def test_questions_show_the_prompt_without_the_solution(problems):
    for problem in problems:
        prompt = problem.question.split("```python\n")[1].removesuffix("\n```")
        assert problem.answer.strip().startswith(prompt)
        assert problem.answer.strip().removeprefix(prompt).strip() not in prompt


def test_it_is_never_trained_on():
    with pytest.raises(InputError, match="none may be trained on"):
        HumanEval().problems("train", 1, 0)


def test_a_form_without_its_prompt_is_refused():
    with pytest.raises(InputError, match="without {prompt}"):
        HumanEval(form="Write a function.")
