import random
import re
from dataclasses import dataclass, replace

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.passages import Passage
from reasoning.tasks.problems import Problem, ProblemSet, identity
from reasoning.tasks.retrieval import Found, Gold, Retrieved, Top
from reasoning.tasks.splits import split_of


@dataclass(frozen=True)
class Facts:
    """Sixty rivers, each in a passage that names it, and a passage that no question is about."""

    allow_leaks: bool = False

    def passages(self) -> list[Passage]:
        told = [Passage(f"The river r{number} is {number} km long.", f"r{number}") for number in range(60)]
        return [*told, Passage("Rivers are long.", "rivers")]

    def problems(self, split, count, seed):
        asked = [f"How long is r{number}?" for number in range(60)]
        numbers = [number for number, question in enumerate(asked) if split_of(question) == split]
        random.Random(seed).shuffle(numbers)
        return tuple(
            Problem(asked[number], str(number), "rivers", {"passage": f"r{number}"}) for number in numbers[:count]
        )

    def leaks(self) -> str:
        return "some"


ASKED = Retrieved(task=Facts(), corpus=Facts())
SHOWN = re.compile(r"\[(\d+)\] (.*)\n")


def shown(problem: Problem) -> dict[int, str]:
    return {int(number): text for number, text in SHOWN.findall(problem.question)}


def test_passages_are_numbered_before_the_question_and_the_one_with_the_answer_is_known():
    for problem in ASKED.problems("train", 40, 3):
        texts, river = shown(problem), problem.columns["passage"]
        assert list(texts) == [1, 2, 3, 4] and list(texts.values()) == problem.columns["passages"]
        assert problem.question.endswith(f"\nHow long is {river}?")
        [number] = problem.columns["holds_answer"]
        assert texts[number] == f"The river {river} is {problem.answer} km long."
        assert problem.columns["rank"] == 1 and problem.kind == "rivers, retrieved"
        assert identity(problem) == f"How long is {river}?" and split_of(identity(problem)) == "train"


def test_the_order_differs_by_seed_and_question_and_every_place_comes_up():
    places = [problem.columns["holds_answer"][0] for problem in ASKED.problems("train", 40, 3)]
    assert all(4 < places.count(place) < 18 for place in (1, 2, 3, 4))
    assert ASKED.problems("train", 40, 3)[:9] == ASKED.problems("train", 9, 3)
    first, second = (
        {problem.columns["passage"]: problem.columns["holds_answer"] for problem in ASKED.problems("train", 40, seed)}
        for seed in (3, 4)
    )
    assert sum(first[river] == second[river] for river in first.keys() & second.keys()) < 25


def test_what_the_retriever_misses_is_said_and_an_oracle_shows_it_all_the_same():
    @dataclass(frozen=True)
    class Blind:
        def ranking(self, texts):
            return lambda question, count: [texts.index("Rivers are long.")]

    blind = replace(ASKED, retriever=Blind(), selection=Top(count=1))
    for problem in blind.problems("test", 3, 0):
        assert problem.kind == "rivers, not retrieved" and problem.columns["rank"] is None
        assert problem.columns["holds_answer"] == [] and problem.columns["passages"] == ["Rivers are long."]
    for problem in replace(blind, selection=Gold()).problems("test", 3, 0):
        assert problem.kind == "rivers, retrieved" and problem.columns["rank"] is None
        assert problem.columns["passages"] == [f"The river {problem.columns['passage']} is {problem.answer} km long."]


FOUND = Found(ranked=(7, 2, 9, 4), holding=(4, 5), passages=12)


def test_the_best_are_shown_with_others_that_dont_hold_the_answer():
    generator = random.Random(0)
    for _ in range(50):
        chosen = Top(count=3, at_random=2).select(FOUND, generator)
        assert chosen[:3] == [7, 2, 9] and len(set(chosen)) == 5 and not {4, 5} & set(chosen)
        filled = Top(count=6).select(FOUND, generator)
        assert filled[:4] == [7, 2, 9, 4] and len(set(filled)) == 6 and 5 not in filled
    assert len(Top(count=100).select(FOUND, generator)) == 11  # 5 alone is held back: it holds the answer


def test_gold_is_the_best_passage_with_the_answer_beside_the_best_without():
    generator = random.Random(0)
    assert Gold().select(FOUND, generator) == [4]
    assert Gold(distractors=2).select(FOUND, generator) == [4, 7, 2]
    filled = Gold(distractors=4, at_random=1).select(FOUND, generator)
    assert filled[:4] == [4, 7, 2, 9] and len(set(filled)) == 6 and 5 not in filled
    assert Gold().select(Found((7,), (5,), 12), generator) == [5]
    with pytest.raises(InputError, match="no passage holds its answer"):
        Gold().select(Found((7,), (), 12), generator)


def test_without_a_named_passage_those_count_that_hold_the_answer_or_an_alias_as_words():
    @dataclass(frozen=True)
    class Asked:
        def problems(self, split, count, seed):
            return (Problem("Where is the Prado?", "Madrid", "places", {"aliases": ["the city of Villa"]}),)

    @dataclass(frozen=True)
    class Told:
        def passages(self):
            texts = ("The Prado is in MADRID.", "Madridejos is near the Prado.", "A city of Villa, Prado.", "Prado")
            return tuple(map(Passage, texts))

    [problem] = Retrieved(task=Asked(), corpus=Told(), holder="").problems("train", 1, 0)
    held = {problem.columns["passages"][number - 1] for number in problem.columns["holds_answer"]}
    assert held == {"The Prado is in MADRID.", "A city of Villa, Prado."}


def test_braces_of_passages_and_questions_stand_as_they_are():
    asked = replace(ASKED, line="{number}: {passage};", form="{question} ({passages})")
    assert asked.put(["{question}", "{number}"], "{passages}?") == "{passages}? (1: {question};2: {number};)"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"line": "{passage}"}, "line='{passage}', which must hold {number} once"),
        ({"form": "{passages}{question}{question}"}, "which must hold {question} once"),
    ],
)
def test_a_form_without_its_parts_is_refused(settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        replace(ASKED, **settings)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "has None in the column 'passage', which names no passage of the corpus"),
        ({"passage": "r99"}, "has 'r99' in the column 'passage'"),
        ({"passage": "r1", "rank": 1}, "has a column 'rank' already"),
    ],
)
def test_a_problem_that_names_no_passage_is_named(columns, message):
    @dataclass(frozen=True)
    class Asked:
        def problems(self, split, count, seed):
            return (Problem("How long?", "1", "rivers", columns),)

    with pytest.raises(InputError, match=message):
        replace(ASKED, task=Asked()).problems("train", 1, 0)


def test_leaks_of_the_task_are_the_questions_leaks():
    with pytest.raises(InputError, match="some"):
        ProblemSet((ASKED,), "test", 2).leaks()
    assert ProblemSet((replace(ASKED, task=Facts(allow_leaks=True)),), "test", 2).leaks() == ("some",)
