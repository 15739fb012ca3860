"""Which of a few letters is the commonest in a short text: a classification that a model of any size can learn."""

import random
from collections import Counter
from dataclasses import dataclass
from functools import partial

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Few, Fraction
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Piece
from reasoning.tasks.classification import labelled
from reasoning.tasks.problems import Problem, drawn
from reasoning.tasks.splits import Split, split_of


@dataclass(frozen=True)
class Majorities:
    """Texts of ``minimum`` to ``maximum`` of the ``letters`` ``offered`` to it, of which one is the commonest.

    The question is the text and the offered letters in some order, ``badbadd:dab?``; the label is a letter.
    """

    letters: str = "abcde"
    offered: Few = 3
    minimum: Count = 5
    maximum: Count = 9
    name: str = "majorities"

    def __post_init__(self) -> None:
        if len(set(self.letters)) < len(self.letters) or not 2 <= self.offered <= len(self.letters):
            raise InputError(
                f"Majorities has letters={self.letters!r} and offered={self.offered}; give letters that differ, and "
                "offer at least two of them"
            )
        if self.minimum > self.maximum:
            raise InputError(f"Majorities has minimum={self.minimum} and maximum={self.maximum}; swap them")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens."""
        return (*self.letters, ":", "?")

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` texts of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"majorities/{self!r}/{split}/{seed}")
        return drawn(partial(self.draw, generator), split, count, repr(self))

    def draw(self, generator: random.Random) -> Problem | None:
        """A problem of any split; None where two letters are equally common."""
        offered = generator.sample(self.letters, self.offered)
        length = self.minimum + int(generator.random() * (self.maximum - self.minimum + 1))
        text = "".join(offered[int(generator.random() * len(offered))] for _ in range(length))
        (label, most), *others = [*Counter(text).most_common(2), ("", 0)]
        if others[0][1] == most:
            return None
        return labelled(text, label, offered, self.name, generator, "{text}:{labels}?", "")


@dataclass(frozen=True)
class MajorityCorpus:
    """A writer of pretraining documents that each ask and answer a question of the training split, some wrongly.

    The wrong answers are drawn among the offered letters, right one included: so a model that learns the corpus well
    gives the right one a probability that is known, which is what calibration is measured against.
    """

    task: Majorities = Majorities()
    random_answer: Fraction = 0.5

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens, beside the chat format's own symbols."""
        return self.task.symbols

    def __call__(self, seed: int, index: int, chat: ChatFormat) -> Document:
        """Document ``index`` of the corpus ``seed``; it depends on nothing else. Every token of it is learnt."""
        generator = random.Random(f"majority corpus/{seed}/{index}")
        while (problem := self.task.draw(generator)) is None or split_of(problem.source) != "train":
            pass
        answer = problem.answer
        if generator.random() < self.random_answer:
            answer = problem.columns["labels"][int(generator.random() * self.task.offered)]
        reply = f"{chat.answer_open}{answer}{chat.answer_close}{chat.end}"
        return Document((Piece(chat.prompt(problem.question) + reply, learn=True),))
