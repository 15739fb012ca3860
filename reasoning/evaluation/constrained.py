"""Replies that can't be anything but what a problem asks for: one of its labels, or a record of its schema."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import NonNegative, Size
from reasoning.core.signatures import Takes
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.exam import Answers, Candidate, Exam, Questions, graded, in_batches, longest_of
from reasoning.evaluation.sitting import Sitting
from reasoning.generation.engine import Rollouts
from reasoning.generation.grammar import Joined, Pattern, Text, TokenTable, json_object, one_of, token_table
from reasoning.generation.prompts import PromptStyle, reply_opening
from reasoning.generation.shaping import Shaping
from reasoning.generation.truncation import Truncation
from reasoning.generation.watching import Watch
from reasoning.models.cache import Weights
from reasoning.rollouts.sampling import sampler_for, truncation_of
from reasoning.tasks.classification import labels_of
from reasoning.tasks.extraction import SCHEMA
from reasoning.tasks.problems import Problem

_REPLY = "{reply}"


def one_label(problem: Problem) -> Pattern:
    """One of the problem's labels (``tasks.classification``), or letters of choices."""
    return one_of(labels_of(problem))


def record(problem: Problem) -> Pattern:
    """A JSON object of the problem's schema (``tasks.extraction``). Raises InputError where it has none."""
    schema = problem.columns.get(SCHEMA)
    if not isinstance(schema, Mapping) or not schema:
        raise InputError(
            f"the problem {problem.question!r:.60} ({problem.kind}) has no schema of a record: its column {SCHEMA!r} "
            f"is {schema!r:.40}; drop the method that writes records, or give it one"
        )
    return json_object(schema)


@dataclass(frozen=True, kw_only=True)
class Constrained:
    """Replies in which at each place only such tokens may be said as some reply of ``pattern`` goes on with.

    What is drawn from is the model's distribution over these. A reply is ``form`` around what the problem's pattern
    allows, and the chat format's end; with ``after`` it may say anything up to the first such text, its thinking, say,
    and nothing holds it if it ends before. Willard and Louf, arXiv 2307.09702.
    """

    name: str = "constrained"
    pattern: Annotated[Callable[[Problem], Pattern], Takes(("problem",))]
    form: str = _REPLY  # what stands around, as the model would write it, spaces and tags included
    after: str = ""
    samples: Size = 1
    temperature: NonNegative = 0.0  # 0: at each place the likeliest token that may be said

    def __post_init__(self) -> None:
        if self.form.count(_REPLY) != 1:
            raise InputError(f"form is {self.form!r:.60}; it must hold {_REPLY} once")

    def cost(self, exam: Exam) -> int:
        return self.samples

    def replies(self, candidate: Candidate, questions: Questions, key: jax.Array) -> Answers:
        """See ``evaluation.methods.Method``."""
        exam, tokenizer, longest = candidate.exam, candidate.tokenizer, longest_of(questions)
        limit, slots = exam.max_new_tokens, exam.slots
        engine = sampler_for(candidate.model, candidate.mesh, tokenizer, exam.chat, self.samples, limit, slots, longest)
        tables = self._tables(exam.chat, tokenizer, questions.style, questions.problems)
        rule = truncation_of(exam)

        def within(
            weights: Weights,
            prompts: Sequence[Sequence[int]],
            ids: Sequence[int],
            key: jax.Array,
            temperature: float,
            *,
            rows: int = 0,
            truncation: Truncation | None = None,
            shaping: Shaping | None = None,
            watch: Watch | None = None,
        ) -> Rollouts:
            """One call of the engine a table; every process makes all of them, also without a prompt of its own."""
            places, parts = [], []
            for table in dict.fromkeys(tables):
                own = [place for place, number in enumerate(ids) if tables[number] is table]
                asked, names = [prompts[place] for place in own], [ids[place] for place in own]
                allowed = Shaping(table=table)
                more = {"rows": rows, "truncation": rule, "shaping": allowed}
                parts.append(engine.generate(weights, asked, names, key, temperature, **more))
                places += own
            order = np.argsort(np.array(places, int))
            joined = (np.concatenate([getattr(part, name) for part in parts]) for name in Rollouts.names())
            return Rollouts(*(array[order] for array in joined))

        count = len(questions.prompts)
        return graded(candidate, questions, in_batches(within, candidate, questions, count, key, self.temperature))

    def programs(self, sitting: Sitting) -> Iterator[Program]:
        """See ``sitting.Foreseen``; nothing holds replies where tokenizer or problems aren't at hand."""
        exam, tokenizer = sitting.exam, sitting.tokenizer
        if tokenizer is None or not sitting.problems:
            sitting.note(f"{self.name}: without tokenizer and problems its tables of what may be said aren't counted")
            yield sitting.sampled(self.name, self.samples)
            return
        tables = self._tables(exam.chat, tokenizer, sitting.style, sitting.problems)
        for table, asked in Counter(tables).items():
            yield sitting.shaped(self.name, self.samples, asked, Shaping(table=table))

    def _tables(
        self, chat: ChatFormat, tokenizer: Tokenizer, style: PromptStyle, problems: Sequence[Problem]
    ) -> list[TokenTable]:
        """Each problem's table; problems of one pattern share theirs."""
        opening = reply_opening(style, chat)
        before, _, behind = self.form.partition(_REPLY)
        after = "" if self.after in opening else self.after
        if not self.after and not before.startswith(opening):
            raise InputError(
                f"the prompt begins replies with {opening!r:.40}, and the form {self.form!r:.60} of the method "
                f"{self.name} doesn't; begin it so"
            )
        said = before if self.after else before.removeprefix(opening)
        patterns = [self._checked(problem) for problem in problems]
        tables = {
            each: token_table(tokenizer, chat, Joined((Text(said), each, Text(behind))), after)
            for each in dict.fromkeys(patterns)
        }
        return [tables[each] for each in patterns]

    def _checked(self, problem: Problem) -> Pattern:
        pattern = self.pattern(problem)
        if not isinstance(pattern, Pattern):
            raise InputError(
                f"the pattern of the method {self.name} gave {pattern!r:.60} for the problem {problem.question!r:.60}; "
                "it must give a pattern of reasoning.generation.grammar"
            )
        return pattern
