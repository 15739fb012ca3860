"""Texts about programs from examples to pretrain on: mostly answers at once, some worked out, some of either wrong.

The mix leaves a base model that can find a program step by step but seldom does (compare ``tasks.worked_corpus``).
"""

import random
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Fraction, NonNegative
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document
from reasoning.tasks.program_synthesis import Program, ProgramSynthesis, question_of, work_out
from reasoning.tasks.puzzles import check_range
from reasoning.tasks.worked_corpus import all_learnt, tagged_reply


@dataclass(frozen=True)
class ProgramCorpus:
    """A writer of pretraining documents, one for each number; call it with a seed, a number and a chat format.

    The first five shares are the kinds', of which only the ratios count. No document asks for a function of the test
    split; a wrong program may happen to be one.
    """

    task: ProgramSynthesis = ProgramSynthesis()
    direct: NonNegative = 0.10  # f(1)=5,…?f=lambda x:2*x+3
    direct_tagged: NonNegative = 0.40  # f(1)=5,…?<answer>f=lambda x:2*x+3</answer>
    steps: NonNegative = 0.12  # f(1)=5,…?11-5=6,4-1=3,…,f=lambda x:2*x+3
    tagged: NonNegative = 0.18  # f(1)=5,…?<think>11-5=6,4-1=3,…</think><answer>f=lambda x:2*x+3</answer>
    drill: NonNegative = 0.20  # 11-5=6,6/3=2,7-4=+3
    # Of the direct documents, the share that give another function's program; of the slopes, products and intercepts
    # that are worked out, the share that are drawn at random.
    random_answer: Fraction = 0.30
    random_step: Fraction = 0.01
    # The share of documents, of whatever kind, that are written as a user's question and an assistant's reply.
    chat: Fraction = 0.20
    minimum_facts: Count = 6
    maximum_facts: Count = 12

    def __post_init__(self) -> None:
        check_range(self.minimum_facts, self.maximum_facts, "facts", "ProgramCorpus")
        if sum(self._shares().values()) <= 0:
            raise InputError("ProgramCorpus has no kind of document with a share above zero; give at least one")

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Every token of it is learnt."""
        generator = random.Random(f"program corpus/{seed}/{index}")
        shares = self._shares()
        (kind,) = generator.choices(tuple(shares), tuple(shares.values()))
        question, reply = self._drill(generator) if kind == "drill" else self._worked(kind, generator, chat)
        return all_learnt(question, reply, chat, as_chat=generator.random() < self.chat)

    def _shares(self) -> dict[str, float]:
        return {
            "direct": self.direct,
            "direct_tagged": self.direct_tagged,
            "steps": self.steps,
            "tagged": self.tagged,
            "drill": self.drill,
        }

    def _drill(self, generator: random.Random) -> tuple[str, str]:
        """Single steps of several functions; nothing is asked, so a conversation of them has an empty question."""
        number = self.minimum_facts + int(generator.random() * (self.maximum_facts - self.minimum_facts + 1))
        steps: list[str] = []
        while len(steps) < number:
            steps += work_out(self.task.draw(generator)[1])[0].split(",")
        return "", ",".join(generator.sample(steps, number))

    def _worked(self, kind: str, generator: random.Random, chat: ChatFormat) -> tuple[str, str]:
        program, examples = self._trainable(generator)
        question = question_of(examples)
        if kind in ("direct", "direct_tagged"):
            if generator.random() < self.random_answer:
                program, _ = self._trainable(generator)
            direct = kind == "direct"
            return question, str(program) if direct else f"{chat.answer_open}{program}{chat.answer_close}"

        def result(value: int) -> int:
            return int(generator.random() * _BELOW) if generator.random() < self.random_step else value

        thinking, program = work_out(examples, result)
        if kind == "steps":
            return question, f"{thinking},{program}"
        return question, tagged_reply(thinking, str(program), chat)

    def _trainable(self, generator: random.Random) -> tuple[Program, tuple[tuple[int, int], ...]]:
        while True:
            program, examples = self.task.draw(generator)
            if program.split == "train":
                return program, tuple(examples)


_BELOW = 4
"""A step's random result is a number from 0 up to here: slopes, products and intercepts are often so small."""
