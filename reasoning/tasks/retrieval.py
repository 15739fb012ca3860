"""Questions of any task behind passages that a retriever found for them (RAG, arXiv 2005.11401), numbered to be cited.

Which passages hold the answer is known, so that an exam tells what was retrieved from what was read.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from reasoning.core.errors import InputError
from reasoning.core.ranges import Few, Index, Size
from reasoning.tasks.answers import phrase_words
from reasoning.tasks.bm25 import BM25, Ranking
from reasoning.tasks.passages import Corpus, Passage
from reasoning.tasks.problems import Leaking, Problem, Task, identity
from reasoning.tasks.splits import Split

_OWN = ("passages", "holds_answer", "rank")
"""The columns that a problem gets."""


@runtime_checkable
class Retriever(Protocol):
    """A way of ranking passages by how well they suit a question."""

    def ranking(self, texts: Sequence[str]) -> Ranking:
        """How questions rank these texts."""
        ...


@dataclass(frozen=True)
class Found:
    """What is known of one question's passages, by number: those ``ranked``, the best first; those ``holding`` its
    answer; and of how many.
    """

    ranked: Sequence[int]
    holding: Sequence[int]
    passages: int


@runtime_checkable
class Selection(Protocol):
    """Which passages a prompt shows."""

    def select(self, found: Found, generator: random.Random) -> list[int]:
        """Numbers of different passages. Raises InputError where there are none to show."""
        ...


@dataclass(frozen=True)
class Top:
    """The best ``count`` by rank, whether they hold the answer or not, and others ``at_random`` that don't."""

    count: Few = 4
    at_random: Index = 0

    def select(self, found: Found, generator: random.Random) -> list[int]:
        """See ``Selection``; where too few passages share a word with the question, others fill up."""
        best = list(found.ranked[: self.count])
        return best + _others(found, best, self.count - len(best) + self.at_random, generator)


@dataclass(frozen=True)
class Gold:
    """The best passage that holds the answer, the best ``distractors`` that don't, and others ``at_random`` that don't.

    Without any distractor it is the oracle of exams; with some, training data in which every answer can be found.
    """

    distractors: Index = 0
    at_random: Index = 0

    def select(self, found: Found, generator: random.Random) -> list[int]:
        """See ``Selection``. Raises InputError where no passage holds the answer."""
        if not found.holding:
            raise InputError("no passage holds its answer; leave the problem out, or show what the retriever finds")
        held = set(found.holding)
        gold = next((number for number in found.ranked if number in held), found.holding[0])
        best = [gold, *[number for number in found.ranked if number not in held][: self.distractors]]
        return best + _others(found, best, 1 + self.distractors - len(best) + self.at_random, generator)


def _others(found: Found, chosen: Sequence[int], count: int, generator: random.Random) -> list[int]:
    """Up to ``count`` passages at random that are not chosen and don't hold the answer."""
    out = {*chosen, *found.holding}
    left = found.passages - len(out)
    others: list[int] = []
    while len(others) < min(count, left):
        number = int(generator.random() * found.passages)
        if number not in out:
            out.add(number)
            others.append(number)
    return others


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """``task``'s questions, each behind passages of ``corpus`` in an order drawn by the seed and the question.

    A problem gets the columns ``passages``, their texts as they are shown; ``holds_answer``, the numbers, from 1, of
    those that hold the answer; and ``rank``, from 1, of the first such passage for the retriever, None beyond
    ``depth``. Its kind says whether one is shown, so that an exam has a table for each case.
    """

    task: Task
    corpus: Corpus
    retriever: Retriever = BM25()
    selection: Selection = Top()
    # The problems' column that names the passages with the answer; empty: all that hold the answer, or a text in the
    # column "aliases", as words.
    holder: str = "passage"
    line: str = "[{number}] {passage}\n"
    form: str = "{passages}\n{question}"
    depth: Size = 100

    def __post_init__(self) -> None:
        for name, text, places in (
            ("line", self.line, ("{number}", "{passage}")),
            ("form", self.form, ("{passages}", "{question}")),
        ):
            if missing := [place for place in places if text.count(place) != 1]:
                raise InputError(f"Retrieved has {name}={text!r}, which must hold {missing[0]} once")

    @property
    def allow_leaks(self) -> bool:
        """What the task says (``tasks.problems.Leaking``)."""
        return isinstance(self.task, Leaking) and self.task.allow_leaks

    def leaks(self) -> str:
        """What the task says (``tasks.problems.Leaking``)."""
        return self.task.leaks() if isinstance(self.task, Leaking) else ""

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` questions of ``split`` (contract: ``tasks.problems.Task``).

        Raises InputError for a problem whose passage isn't named or isn't there, and as its parts do.
        """
        passages = self.corpus.passages()
        if not passages:
            raise InputError(f"{self.corpus!r:.60} gives no passages; name a corpus with some")
        ranking = self.retriever.ranking([passage.text for passage in passages])
        finder = _finder(passages, self.holder)
        return tuple(
            self._behind(problem, passages, ranking(problem.question, self.depth), finder(problem), seed)
            for problem in self.task.problems(split, count, seed)
        )

    def put(self, passages: Sequence[str], question: str) -> str:
        """The text that asks ``question`` behind ``passages``, numbered from 1."""
        lines = [
            self.line.replace("{number}", str(number)).replace("{passage}", text)
            for number, text in enumerate(passages, start=1)
        ]
        before, _, after = self.form.partition("{passages}")
        return before.replace("{question}", question) + "".join(lines) + after.replace("{question}", question)

    def _behind(
        self, problem: Problem, passages: Sequence[Passage], ranked: Sequence[int], holding: Sequence[int], seed: int
    ) -> Problem:
        if taken := [name for name in _OWN if name in problem.columns]:
            raise InputError(f"the problem {problem.question!r:.60} has a column {taken[0]!r} already; leave it out")
        generator = random.Random(f"passages/{seed}/{problem.question}")
        try:
            chosen = self.selection.select(Found(ranked, tuple(holding), len(passages)), generator)
        except InputError as error:
            raise InputError(f"the problem {problem.question!r:.60}: {error}") from None
        generator.shuffle(chosen)
        shown = [passages[number].text for number in chosen]
        held = set(holding)
        holds = [at for at, number in enumerate(chosen, start=1) if number in held]
        rank = next((at for at, number in enumerate(ranked, start=1) if number in held), None)
        own = dict(zip(_OWN, (shown, holds, rank), strict=True))
        return replace(
            problem,
            question=self.put(shown, problem.question),
            kind=f"{problem.kind}, {'retrieved' if holds else 'not retrieved'}",
            columns={**problem.columns, **own},
            source=identity(problem),
        )


def _finder(passages: Sequence[Passage], column: str) -> Callable[[Problem], list[int]]:
    """Which passages hold a problem's answer: those that its ``column`` names, or without one those with its words."""
    return _by_name(passages, column) if column else _by_words(passages)


def _by_name(passages: Sequence[Passage], column: str) -> Callable[[Problem], list[int]]:
    numbers: dict[str, list[int]] = {}
    for number, passage in enumerate(passages):
        numbers.setdefault(passage.name, []).append(number)

    def holding(problem: Problem) -> list[int]:
        named = problem.columns.get(column)
        names = [named] if isinstance(named, str) else named if isinstance(named, list | tuple) else []
        found = [number for name in dict.fromkeys(names) for number in numbers.get(name, ())]
        if not found:
            raise InputError(
                f"the problem {problem.question!r:.60} has {named!r:.60} in the column {column!r}, which names no "
                "passage of the corpus; name the column that does in holder, or leave it empty to go by the words"
            )
        return found

    return holding


def _by_words(passages: Sequence[Passage]) -> Callable[[Problem], list[int]]:
    texts = [_spaced(passage.text) for passage in passages]

    def holding(problem: Problem) -> list[int]:
        answers = [_spaced(each) for each in (problem.answer, *_aliases(problem.columns))]
        return [number for number, text in enumerate(texts) if any(each in text for each in answers)]

    return holding


def _spaced(text: str) -> str:
    return f" {' '.join(phrase_words(text))} "


def _aliases(columns: Mapping[str, Any]) -> list[str]:
    return [each for each in columns.get("aliases") or () if isinstance(each, str)]
