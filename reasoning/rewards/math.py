r"""The accuracy reward of mathematics: the reply's boxed or tagged answer says what the right one says.

Exact arithmetic decides what it can (``tasks.exact``): numbers however they are written, expressions, tuples, sets,
intervals, relations, words. Whether functions of something are equal (``\sin 2x``, ``\log_2 8``) is asked of
math-verify, in processes that are killed when it takes long.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from reasoning.core.artifact import NOT_HASHED
from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Positive
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.boxes import final_answer
from reasoning.rewards.math_workers import Question, workers_of
from reasoning.rewards.reward import UNGRADED, Flags, Format, Judgement, Texts, Value
from reasoning.rewards.text import cut_off
from reasoning.tasks.exact.comparison import same
from reasoning.tasks.exact.forms import spelled
from reasoning.tasks.exact.reading import LONGEST, read_form
from reasoning.tasks.problems import Problem

_MIB = 2**20
_WORDS = {True: "right", False: "wrong", None: "timed_out"}
_VALUES: dict[str, Value] = {"right": 1.0, "wrong": 0.0, "no_answer": 0.0, "cut_off": 0.0, "timed_out": UNGRADED}


@dataclass(frozen=True, kw_only=True)
class Math:
    """1.0 for a reply whose answer (``rewards.boxes.final_answer``) says what ``answer`` says (``tasks.exact``).

    0.0 for any other answer, for none, for a malformed one, one of more than 512 characters, and for a reply that the
    length limit cut off; ``UNGRADED`` where math-verify could not tell in time or memory. DeepSeek-R1's accuracy
    reward for mathematics (arXiv 2501.12948, section 2.2.2). Raises InputError for a right answer that can't be read.
    """

    __name__: ClassVar[str] = "math"  # what metrics call it
    timeout: Positive = 2.0  # seconds of one question to math-verify, whose process is then killed
    workers: Count = field(default=2, metadata=NOT_HASHED)  # its processes
    memory: Count = 1024  # MiB of addresses that each may have

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[Value]:
        """One value a completion."""
        return [each.value for each in self.judge(prompts, completions, answer, truncated, chat)]

    def judge(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[Judgement]:
        """As calling it, with what became of each completion in a word (``rewards.reward.Explaining``)."""
        return [Judgement(_VALUES[word], word) for word in self._words(completions, answer, truncated, chat)]

    def _words(self, completions: Texts, answer: Texts, truncated: Flags, chat: Format) -> list[str]:
        """What became of each completion, in a word."""
        cut, tags = cut_off(completions, truncated), chat or ChatFormat()
        given = [final_answer(text, tags) for text in completions]
        rows = zip(answer, given, cut, strict=True)
        pairs = [(right, each) for right, each, was_cut in rows if each is not None and not was_cut]
        verdicts = self.verdicts(pairs)

        def word(was_cut: bool, right: str, said: str | None) -> str:
            if was_cut:
                return "cut_off"
            return "no_answer" if said is None else _WORDS[verdicts[right, said]]

        return [word(*row) for row in zip(cut, answer, given, strict=True)]

    def verdicts(self, pairs: Sequence[Question]) -> dict[Question, bool | None]:
        """Whether the second of each pair says what the first, the right answer, says; None where nobody could tell."""
        verdicts, elsewhere = dict.fromkeys(pairs), _Elsewhere()
        waiting = list(verdicts)
        while waiting:
            verdicts |= {pair: same(*pair, elsewhere.known) for pair in waiting}
            questions = elsewhere.new()
            if questions:
                answers = workers_of(self.workers, self.timeout, self.memory * _MIB).verdicts(questions)
                elsewhere.answers |= dict(zip(questions, answers, strict=True))
            waiting = [pair for pair in waiting if verdicts[pair] is None] if questions else []
        return verdicts

    def read(self, completion: str, answer: str, chat: ChatFormat) -> str | None:
        """A reply's answer, spelled by its value, so that votes count equal ones as one (``rewards.reward.Reading``).

        Units and names that don't count aren't spelled. One that can't be read stays as it is written.
        """
        given, right = final_answer(completion, chat), read_form(answer)
        form = None if given is None else read_form(given)
        if form is None:
            return given
        return spelled(form, right)

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, where its answer can't be read (``rewards.reward.Selective``)."""
        for problem in problems:
            if read_form(problem.answer) is None:
                raise InputError(
                    f"the reward math can't judge the problem {problem.question!r:.60} ({problem.kind}): it can't read "
                    f"the right answer {problem.answer!r:.60}; write a number, an expression in LaTeX, a tuple, set, "
                    f"interval, relation or words in \\text{{}}, of at most {LONGEST} characters, or leave it out"
                )


@dataclass
class _Elsewhere:
    """What math-verify has said, and what it is still to be asked."""

    answers: dict[Question, bool | None] = field(default_factory=dict)
    asked: dict[Question, None] = field(default_factory=dict)

    def known(self, right: str, given: str) -> bool | None:
        """What was said of two expressions, None for nothing yet."""
        self.asked[right, given] = None
        return self.answers.get((right, given))

    def new(self) -> list[Question]:
        """What was asked for and has no answer."""
        return [question for question in self.asked if question not in self.answers]
