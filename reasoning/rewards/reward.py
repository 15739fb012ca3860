"""What a reward is: a function, or a callable record, in TRL's batched form."""

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, runtime_checkable

from reasoning.core.signatures import Takes
from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.problems import REWARDS_GET, Problem

Texts = Sequence[str]
Flags = Sequence[bool] | None  # None: nothing is known of it
Format = ChatFormat | None  # None: the default one

Reward = Annotated[Callable[..., Sequence[float | None]], Takes(named=REWARDS_GET, more=True)]
"""``reward(prompts, completions, **columns) -> one finite number a completion``, or None where it doesn't apply, which
then adds nothing.

Everything comes by name and, but for ``chat``, as a list with one entry a completion; take what you need, and the rest
as ``**columns``:

- ``prompts`` and ``completions``, texts; completions of one problem stand together;
- ``answer`` and ``kind`` of the problem, and ``truncated``, whether the length limit cut the completion off;
- ``lengths``, how many tokens the completion has, its end symbol included;
- every column of the problems (``Problem.columns``: test cases, a rubric, choices), None where a problem has none of
  that name;
- ``chat``, the chat format, for its tags.

A reward may change the lists that it gets: each gets its own. Functions written for TRL work here, and those that don't
need ``kind``, ``truncated``, ``lengths`` or ``chat`` work there. A record may refuse problems before a run begins
(``Selective``).
"""


@runtime_checkable
class Selective(Protocol):
    """A reward that can't judge every problem: one for numbers, or one that needs a column of test cases."""

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one that it can't judge; asked before anything is sampled."""
        ...


@runtime_checkable
class Reading(Protocol):
    """A reward that reads answers in a way of its own; votes then count by what it calls equal."""

    def read(self, completion: str, answer: str, chat: ChatFormat) -> str | None:
        """The answer of a reply to a question whose right one is ``answer``, spelled as its equals are, or None."""
        ...


def reward_name(reward: Reward) -> str:
    """What a reward is called in metrics and tables: a function's name, also in a partial, or a record's class."""
    while isinstance(reward, functools.partial):
        reward = reward.func
    return getattr(reward, "__name__", type(reward).__name__)
