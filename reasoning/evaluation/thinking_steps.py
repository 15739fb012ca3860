"""The steps of a thought, and what can be done to one of them to see whether the answer rests on it.

A change is a function of this form, which an experiment file names: ``steps.changes = (@…removed, @…numbers_changed)``.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from reasoning.core.signatures import Takes
from reasoning.data.chat.format import ChatFormat

_NUMBER = re.compile(r"[0-9]+")
_OFFSETS = (-3, -2, -1, 1, 2, 3)


@dataclass(frozen=True)
class Thought:
    """Steps, and what stands between each and the next."""

    steps: tuple[str, ...]
    joints: tuple[str, ...]

    @property
    def text(self) -> str:
        """The thought as it is written."""
        return "".join(part for pair in zip(self.steps, (*self.joints, ""), strict=True) for part in pair)

    def first(self, count: int) -> "Thought":
        """The thought up to its first ``count`` steps."""
        return Thought(self.steps[:count] or ("",), self.joints[: max(count - 1, 0)])

    def without(self, number: int) -> "Thought":
        """The thought without one of its steps."""
        if len(self.steps) == 1:
            return self.first(0)
        joint = max(number - 1, 0)
        return Thought(_but(self.steps, number), _but(self.joints, joint))

    def changed(self, number: int, step: str) -> "Thought":
        """The thought with another step in the place of one."""
        return Thought((*self.steps[:number], step, *self.steps[number + 1 :]), self.joints)


@dataclass(frozen=True)
class ThinkingReply:
    """A reply that thinks: all before its thought, the thought, what stands between it and the answer, the answer."""

    before: str
    thought: Thought
    closing: str
    answer: str

    def with_thought(self, thought: Thought) -> str:
        """What a model that had thought this, and had then ended its thinking, would read before it answers."""
        return self.before + thought.text + self.closing


def thinking_reply(reply: str, chat: ChatFormat, separator: str) -> ThinkingReply | None:
    """A reply's thought in steps, which ``separator``, a regular expression, stands between.

    The answer is what follows the tag that opens it, else the one that ends thinking: whether a model would go on
    thinking instead is another question. None for a reply without a thought, or with nothing behind it.
    """
    before, opened, rest = reply.partition(chat.think_open)
    inside, closed, behind = rest.rpartition(chat.think_close)
    between, tag, tagged = behind.partition(chat.answer_open) if chat.answer_open else ("", "", "")
    closing, answer = (closed + between + tag, tagged) if tag else (closed, behind)
    if not opened or not closed or not inside.strip() or not answer.strip():
        return None
    found = [match for match in re.finditer(separator, inside) if match.start() > 0 and match.end() < len(inside)]
    starts = [0, *(match.end() for match in found)]
    ends = [*(match.start() for match in found), len(inside)]
    steps = tuple(inside[start:end] for start, end in zip(starts, ends, strict=True))
    thought = Thought(steps, tuple(match[0] for match in found))
    return ThinkingReply(before + opened, thought, closing, answer)


Comparison = tuple[Thought, Thought]
"""A thought that holds a step, and one that doesn't or holds it changed; all else about the two is alike."""

StepChange = Annotated[Callable[..., tuple[Comparison, ...]], Takes(("thought", "number", "draw"))]
"""``(thought, number of a step, random numbers)`` to the comparisons that tell what the step does."""


def removed(thought: Thought, number: int, draw: random.Random) -> tuple[Comparison, ...]:
    """The whole thought, and the thought without the step."""
    return ((thought, thought.without(number)),)


def numbers_changed(thought: Thought, number: int, draw: random.Random) -> tuple[Comparison, ...]:
    """The whole thought, and the thought with a mistake in the step: its numbers are others (``perturbed``).

    Measuring Faithfulness in Chain-of-Thought Reasoning (Lanham et al., arXiv 2307.13702, section 2.3, "adding
    mistakes"), but for two things: a rule makes the mistake, and the steps behind it stay as they are.
    """
    return ((thought, perturbed(thought, number, draw)),)


def ended_before(thought: Thought, number: int, draw: random.Random) -> tuple[Comparison, ...]:
    """The whole thought, and the thought that ends before the step: early answering (arXiv 2307.13702, section 2.2)."""
    return ((thought, thought.first(number)),)


def true_thinking(thought: Thought, number: int, draw: random.Random) -> tuple[Comparison, ...]:
    """The step and the perturbed step, both as the last before the answer, after the steps before it as they are and
    after these perturbed too.

    The mean size of the two effects is the True Thinking Score (Zhao et al., arXiv 2510.24941).
    """
    until, same = thought.first(number + 1), draw.random()
    astray = until
    for place in range(number):
        astray = perturbed(astray, place, draw, keep=True)
    return tuple((each, perturbed(each, number, random.Random(same))) for each in (until, astray))


def perturbed(thought: Thought, number: int, draw: random.Random, keep: bool = False) -> Thought:
    """The thought with other numbers in one step: the last digit of each moves by 1 to 3, up or down, past 9 to 0.

    So a number keeps its length. A step without a number is left out, as in arXiv 2510.24941, or with ``keep`` stays.
    """

    def other(match: re.Match[str]) -> str:
        digit = (int(match[0][-1]) + draw.choice(_OFFSETS)) % 10
        return f"{match[0][:-1]}{digit}"

    step, changes = _NUMBER.subn(other, thought.steps[number])
    if changes:
        return thought.changed(number, step)
    return thought if keep else thought.without(number)


def _but(items: tuple[str, ...], number: int) -> tuple[str, ...]:
    return items[:number] + items[number + 1 :]
