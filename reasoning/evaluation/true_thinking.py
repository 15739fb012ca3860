"""Which steps of a thought an answer rests on: a method of exams that reads its own replies again with a step changed.

Shapes: P problems, S samples a problem.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import Fraction, NonNegative, Size
from reasoning.core.signatures import function_words
from reasoning.evaluation.continuations import Continuation, log_likelihoods
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, ask
from reasoning.evaluation.sitting import Sitting
from reasoning.evaluation.thinking_steps import (
    StepChange,
    ThinkingReply,
    Thought,
    numbers_changed,
    removed,
    thinking_reply,
)

_Row = tuple[int, ThinkingReply, Thought]
"""A problem's number, a reply to it, and the thought that stands in it."""

_LogProbs = Callable[[Sequence[_Row]], np.ndarray]
"""The log-probability of each reply's answer after a thought."""


@dataclass(frozen=True, kw_only=True)
class TrueThinking:
    """Replies at ``temperature`` (0: greedy), and how far the probability of what they answer moves with each step.

    The answer is all of a reply behind its thought and the tag that opens the answer, both given. A step's effect is
    the size of the change of the answer's probability, in 0..1, that one of ``changes`` makes (``thinking_steps``; the
    mean where it compares several). Of the replies that a score calls right, with a thought of at least one step, two
    columns are given for each change: ``effect@<change>``, the mean over a reply's steps, and ``steps@<change>``, the
    share of its steps with an effect of ``least`` or more, by default that of a true-thinking step in arXiv
    2510.24941. Right replies without a thought and wrong ones are not graded. Nothing is generated but the replies;
    probabilities are the trainer's, at temperature 1.
    """

    changes: tuple[StepChange, ...] = (removed, numbers_changed)
    separator: str = r"(?:\s*\n\s*|(?<=[.!?;])\s+)+"  # stands between steps: lines, sentences
    least: Fraction = 0.7
    samples: Size = 1
    temperature: NonNegative = 0.0
    batch: Size = 64  # texts read at once

    def __post_init__(self) -> None:
        names = [function_words(change) for change in self.changes]
        if not names or len(set(map(_name, self.changes))) < len(names):
            raise InputError(f"TrueThinking has changes of {', '.join(names) or 'no steps'}; name at least one, once")
        try:
            re.compile(self.separator)
        except re.error as error:
            raise InputError(f"TrueThinking has separator={self.separator!r}, no regular expression: {error}") from None

    @property
    def name(self) -> str:
        return "true_thinking"

    def cost(self, exam: Exam) -> int:
        return self.samples

    def check(self, exam: Exam) -> None:
        """Raises InputError where the exam's chat format has no tags of thinking."""
        if not exam.chat.think_open or not exam.chat.think_close:
            raise InputError(
                "TrueThinking reads what stands between the tags of thinking, and this chat format has none"
            )

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``Method``; beside the scores of the exam each reply has one of every column of ``columns``."""
        answers = ask(candidate, questions, key, samples=self.samples, temperature=self.temperature)
        chat = candidate.exam.chat
        thoughts = [[thinking_reply(text, chat, self.separator) for text in texts] for texts in answers.texts]
        values = self.measured(thoughts, partial(self.answer_log_probs, candidate, questions))
        missing = {name: np.isnan(each) for name, each in values.items()}
        return replace(answers, scores=answers.scores | values, ungraded=answers.ungraded | missing)

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        """See ``sitting.Foreseen``; how many texts are read again only the replies tell, so one batch counts."""
        yield sitting.sampled(self.name, self.samples)
        sitting.note(f"{self.name}: of the texts that it reads again one batch of {self.batch} is counted")
        longest = sitting.longest + sitting.exam.max_new_tokens
        yield from sitting.scored(self.name, self.batch, self.batch, longest)

    def measured(
        self, thoughts: Sequence[Sequence[ThinkingReply | None]], log_probs: _LogProbs
    ) -> dict[str, np.ndarray]:
        """The columns' values [P, S] of replies; NaN for one without a thought, and where an answer isn't possible."""
        texts: dict[_Row, int] = {}
        thinking = [
            (problem, sample, reply)
            for problem, replies in enumerate(thoughts)
            for sample, reply in enumerate(replies)
            if reply is not None
        ]
        placed = [
            (_name(change), problem, sample, _placed(texts, change, problem, reply))
            for change in self.changes
            for problem, sample, reply in thinking
        ]
        probabilities = np.exp(log_probs(tuple(texts))) if texts else np.zeros(0)
        shape = (len(thoughts), max(map(len, thoughts), default=0))
        columns = {name: np.full(shape, np.nan) for name in self._columns()}
        for name, problem, sample, steps in placed:
            effects = [np.abs(np.diff(probabilities[pairs], axis=1)).mean() for pairs in steps]
            columns[f"effect@{name}"][problem, sample] = np.mean(effects)
            counted = [float(effect >= self.least) if effect == effect else effect for effect in effects]
            columns[f"steps@{name}"][problem, sample] = np.mean(counted)
        return columns

    def answer_log_probs(self, candidate: Candidate, questions: Questions, rows: Sequence[_Row]) -> np.ndarray:
        """The log-probability of the answer behind each thought, as the candidate's own tokens; NaN without room."""
        chat, tokenizer = candidate.exam.chat, candidate.tokenizer
        asked = [chat.ask(problem.question + questions.style.instruction) for problem in questions.problems]
        read = tokenizer.encode_batch([asked[problem] + reply.with_thought(each) for problem, reply, each in rows])
        answers = tokenizer.encode_batch([reply.answer for _, reply, _ in rows])
        texts: list[Continuation] = list(zip(read, answers, strict=True))
        fitting = [number for number, text in enumerate(texts) if sum(map(len, text)) <= candidate.model.context]
        log_probs = np.full(len(rows), np.nan)
        log_probs[fitting] = log_likelihoods(candidate, [texts[number] for number in fitting], self.batch)
        return log_probs

    def columns(self, answers: Answers, scores_PS: np.ndarray) -> dict[str, np.ndarray]:
        """The values of right replies; a column of which there are none is left out."""
        right_PS = scores_PS == 1
        values = {name: np.where(right_PS, answers.scores[name], np.nan) for name in self._columns()}
        return {name: each for name, each in values.items() if not np.isnan(each).all()}

    def _columns(self) -> list[str]:
        return [f"{what}@{_name(change)}" for change in self.changes for what in ("effect", "steps")]


def _name(change: StepChange) -> str:
    return getattr(change, "__name__", "change")


def _placed(texts: dict[_Row, int], change: StepChange, problem: int, reply: ThinkingReply) -> list[list[list[int]]]:
    """For each step its comparisons, as the places of both thoughts among ``texts``, each of which is read once.

    A change's random numbers depend on the thought and the step alone.
    """
    thought, steps = reply.thought, []
    for step in range(len(thought.steps)):
        compared = change(thought, step, random.Random(f"{_name(change)}/{step}/{thought.text}"))
        steps.append([[texts.setdefault((problem, reply, each), len(texts)) for each in pair] for pair in compared])
    return steps
