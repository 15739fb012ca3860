"""Texts about puzzles to pretrain on: mostly answers at once, some worked out, few in the form that is rewarded later.

The mix leaves a base model that can reason but seldom does, so reinforcement learning has something to find.
"""

import random
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.core.ranges import Few, Fraction, NonNegative
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Piece
from reasoning.tasks.chains import Chains
from reasoning.tasks.puzzles import Subject, check_range, solve, worked_steps


@dataclass(frozen=True)
class WorkedCorpus:
    """A writer of pretraining documents, one for each number; call it with a seed, a number and a chat format.

    The first eight shares are the kinds', of which only the ratios count. It never asks a test question, though it
    writes down single equations (``8-3=5``) of all kinds: they are steps, not questions.
    """

    subject: Subject = Chains(minimum_operands=2)
    direct: NonNegative = 0.46  # 3+8-5?=6
    direct_tagged: NonNegative = 0.09  # 3+8-5?<answer>6</answer>
    steps: NonNegative = 0.14  # 3+8-5?3+8=1,1-5=6=6
    paired_steps: NonNegative = 0.05  # the same with two moves a step: 3+8-5=6=6
    tagged: NonNegative = 0.08  # 3+8-5?<think>3+8=1,1-5=6</think><answer>6</answer>
    paired_tagged: NonNegative = 0.03
    second_language: NonNegative = 0.05  # tagged, and the thinking is in the subject's second language
    drill: NonNegative = 0.10  # 8-3=5,7+8=5,6-9=7
    # Of the direct documents, the share whose answer is drawn at random; of all steps, the share whose result is.
    random_answer: Fraction = 0.30
    random_step: Fraction = 0.02
    # The share of documents, of whatever kind, that are written as a user's question and an assistant's reply.
    chat: Fraction = 0.20
    minimum_facts: Few = 3
    maximum_facts: Few = 6

    def __post_init__(self) -> None:
        check_range(self.minimum_facts, self.maximum_facts, "facts", "WorkedCorpus")
        if sum(self._shares().values()) <= 0:
            raise InputError("WorkedCorpus has no kind of document with a share above zero; give at least one")
        if self.second_language > 0 and self.subject.second_language is None:
            raise InputError(
                f"WorkedCorpus has second_language={self.second_language}, but {self.subject.name} are written in one "
                "language only; set it to 0"
            )

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Every token of it is learnt."""
        generator = random.Random(f"{self.subject.name} corpus/{seed}/{index}")
        shares = self._shares()
        (kind,) = generator.choices(tuple(shares), tuple(shares.values()))
        question, reply = self._drill(generator) if kind == "drill" else self._worked(kind, generator, chat)
        return all_learnt(question, reply, chat, as_chat=generator.random() < self.chat)

    def _shares(self) -> dict[str, float]:
        return {
            "direct": self.direct,
            "direct_tagged": self.direct_tagged,
            "steps": self.steps,
            "paired_steps": self.paired_steps,
            "tagged": self.tagged,
            "paired_tagged": self.paired_tagged,
            "second_language": self.second_language,
            "drill": self.drill,
        }

    def _drill(self, generator: random.Random) -> tuple[str, str]:
        """Single equations; nothing is asked, so a conversation made of them has an empty question."""
        number = self.minimum_facts + int(generator.random() * (self.maximum_facts - self.minimum_facts + 1))
        facts = (self.subject.fact(generator) for _ in range(number))
        return "", ",".join(worked_steps(self.subject, fact)[0] for fact in facts)

    def _worked(self, kind: str, generator: random.Random, chat: ChatFormat) -> tuple[str, str]:
        puzzle = self.subject.puzzle(generator)
        right = solve(self.subject, puzzle)
        if kind == "direct":
            at_random = generator.random() < self.random_answer
            return puzzle.question, f"={self._any(generator) if at_random else right}"
        if kind == "direct_tagged":
            return puzzle.question, f"{chat.answer_open}{right}{chat.answer_close}"

        def result(value: str) -> str:
            return self._any(generator) if generator.random() < self.random_step else value

        moves = 2 if kind in ("paired_steps", "paired_tagged") else 1
        written, value = worked_steps(self.subject, puzzle, moves, result)
        if kind in ("steps", "paired_steps"):
            return puzzle.question, f"{written}={value}"
        if kind == "second_language":
            written = written.translate(self.subject.second_language or {})
        return puzzle.question, tagged_reply(written, value, chat)

    def _any(self, generator: random.Random) -> str:
        values = self.subject.values
        return values[int(generator.random() * len(values))]


@dataclass(frozen=True)
class Demonstrations:
    """A writer of right, readable, worked answers for supervised fine-tuning; called like ``WorkedCorpus``."""

    subject: Subject = Chains()

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Exchange ``index`` of the collection ``seed``: a train question and a tagged reply; the reply is learnt."""
        generator = random.Random(f"{self.subject.name} demonstrations/{seed}/{index}")
        puzzle = self.subject.puzzle(generator)
        return chat.exchange(puzzle.question, tagged_reply(*worked_steps(self.subject, puzzle), chat))


def all_learnt(question: str, reply: str, chat: ChatFormat, as_chat: bool) -> Document:
    """A question with its reply to pretrain on: as a conversation or as running text, every token of it learnt."""
    if as_chat:
        return Document((Piece(chat.prompt(question) + reply + chat.end, learn=True),))
    return chat.plain(question + reply)


def tagged_reply(thinking: str, answer: str, chat: ChatFormat) -> str:
    """The form that the rewards ask for: thinking between its tags, then the answer between its own."""
    return f"{chat.think_open}{thinking}{chat.think_close}{chat.answer_open}{answer}{chat.answer_close}"
