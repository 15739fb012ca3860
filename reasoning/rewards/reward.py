"""What a reward is: a function, or a callable record, in TRL's batched form."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

from reasoning.core.signatures import Takes
from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.problems import REWARDS_GET, Problem

Texts = Sequence[str]
Flags = Sequence[bool] | None  # None: nothing is known of it
Format = ChatFormat | None  # None: the default one


@dataclass(frozen=True)
class Ungraded:
    """Says of a completion that nobody knows what it is worth: ``UNGRADED``."""


UNGRADED = Ungraded()
"""What a reward gives where it failed and not the completion: a broken problem, a dead worker, a parser that hung.

Such a sample is masked: no loss, no part in its group's baseline, in no mean; it is counted. None is another thing: the
reward doesn't apply, adds nothing, and the sample counts.
"""

Value = float | None | Ungraded

Reward = Annotated[Callable[..., Sequence[Value]], Takes(named=REWARDS_GET, more=True)]
"""``reward(prompts, completions, **columns) -> one finite number a completion``, or None where it doesn't apply, which
then adds nothing, or ``UNGRADED`` where it could not be found out.

Everything comes by name and, but for ``chat``, as a list with one entry a completion; take what you need, and the rest
as ``**columns``:

- ``prompts`` and ``completions``, texts; completions of one problem stand together;
- ``answer`` and ``kind`` of the problem, and ``truncated``, whether the length limit cut the completion off;
- ``lengths``, how many tokens the completion has, its end symbol included;
- every column of the problems (``Problem.columns``: test cases, a rubric, choices), None where a problem has none of
  that name;
- ``chat``, the chat format, for its tags;
- ``marks``, where a stage has scorers: the scores [E] of the completion's steps, by scorer.

A reward may change the lists that it gets: each gets its own. Functions written for TRL work here, and those that don't
need ``kind``, ``truncated``, ``lengths`` or ``chat`` work there. A record may refuse problems before a run begins
(``Selective``), have something to say of them (``Remarking``), and give reasons beside numbers (``Explaining``).
"""


@runtime_checkable
class Selective(Protocol):
    """A reward that can't judge every problem: one for numbers, or one that needs a column of test cases."""

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one that it can't judge; asked before anything is sampled."""
        ...


Reader = Callable[[str, str, ChatFormat], str | None]
"""``Reading.read`` of some reward, or ``rewards.text.read_answer``."""


@runtime_checkable
class Reading(Protocol):
    """A reward that reads answers in a way of its own; votes then count by what it calls equal."""

    def read(self, completion: str, answer: str, chat: ChatFormat) -> str | None:
        """The answer of a reply to a question whose right one is ``answer``, spelled as its equals are, or None."""
        ...


@runtime_checkable
class ReadingSome(Protocol):
    """A reward of which a part may be ``Reading``, for the problems that this part is for."""

    def reader(self, problem: Problem) -> Reader | None:
        """How the replies to a problem are read; None where no part does it."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A reward that finds faults in problems which a run survives, such as solutions that fail their own tests."""

    def remarks(self, problems: Sequence[Problem]) -> Sequence[str]:
        """Sentences for whoever runs, said once before anything is sampled; none where all is well."""
        ...


@dataclass(frozen=True)
class Judgement:
    """A reward's value of one completion and why: a ``verdict`` in a word, the test that ``failing`` numbers, a line.

    ``wall_kills`` counts processes that the clock ended while it was judged, which a busy machine can cause.
    """

    value: Value
    verdict: str = ""
    failing: int | None = None
    detail: str = ""
    wall_kills: int = 0


@runtime_checkable
class Explaining(Protocol):
    """A reward that says why; its verdicts stand beside completions in all records, and their shares in metrics."""

    def judge(self, prompts: Texts, completions: Texts, **columns: Any) -> Sequence[Judgement]:
        """As calling it, which gives the same values, with reasons."""
        ...


@runtime_checkable
class _AskingScorers(Protocol):
    """Whoever judges, weighs or searches by scorers, which the stage or exam must have (``evaluation.scorers``)."""

    def scorers_asked(self) -> tuple[str, ...]:
        """Their names."""
        ...


def scorers_of(asking: Any) -> tuple[str, ...]:
    """The names of the scorers that a reward or a method asks; none where it asks no scorer."""
    return asking.scorers_asked() if isinstance(asking, _AskingScorers) else ()


def reader_of(rewards: Sequence[Reward], problem: Problem) -> Reader | None:
    """How the first of ``rewards`` that reads replies to a problem itself does so; None where none does."""
    for reward in rewards:  # Attributes first: asking for a protocol takes 10 us, and this is asked for every problem.
        if hasattr(reward, "read") and isinstance(reward, Reading):
            return reward.read
        if hasattr(reward, "reader") and isinstance(reward, ReadingSome):
            if (reader := reward.reader(problem)) is not None:
                return reader
    return None


def judge_each(reward: Reward, **given: Any) -> Sequence[Judgement]:
    """What any reward gives as judgements, without reasons where it has none."""
    if isinstance(reward, Explaining):
        return reward.judge(**given)
    return [Judgement(value) for value in reward(**given)]


def reward_name(reward: Callable[..., Any]) -> str:
    """What a reward or a measure is called in tables: a function's name, also in a partial, or a record's class."""
    while isinstance(reward, functools.partial):
        reward = reward.func
    return getattr(reward, "__name__", type(reward).__name__)
