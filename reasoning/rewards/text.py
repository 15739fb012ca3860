"""What a reply says: its thinking and answer in the strict form, and the answer that it ends on in a lenient one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.data.chat.format import ChatFormat
from reasoning.tasks.answers import answer_value, last_number, number_value


@dataclass(frozen=True)
class ParsedReply:
    """The two parts of a reply in the strict form, without the white space around them."""

    thinking: str
    answer: str


def parse_reply(completion: str, chat: ChatFormat) -> ParsedReply | None:
    """The parts of a reply that keeps to the form, or None.

    The form: the whole text is a block of thinking and then a block with the answer. Each tag stands once, in this
    order, with nothing but white space between the blocks and nothing before or after; no other special symbol occurs;
    the thinking holds a letter or digit, the answer is not empty. Without tags for it, the answer is all that follows.
    """
    if not completion.startswith(chat.think_open) or not completion.endswith(chat.answer_close):
        return None  # Where most replies of a base model end: the rest takes longer.
    for symbol, count in chat.counts():
        if completion.count(symbol) != count:
            return None
    head, between, tail = completion.partition(chat.think_close)
    middle, opened, rest = tail.partition(chat.answer_open) if chat.answer_open else ("", between, tail)
    if not between or not opened or middle.strip():
        return None
    if not head.startswith(chat.think_open) or not rest.endswith(chat.answer_close):
        return None  # Tags that overlap.
    reply = ParsedReply(head.removeprefix(chat.think_open).strip(), rest.removesuffix(chat.answer_close).strip())
    return reply if reply.answer and any(character.isalnum() for character in reply.thinking) else None


def answer_part(completion: str, chat: ChatFormat) -> str:
    """The part of a reply that holds its answer: what follows the last opening answer tag, or all where there is none.

    In a format without that tag it is what follows the thinking.

    A space stands in the place of every other tag, so that numbers beside a tag stay apart.
    """
    text = completion.rpartition(chat.answer_open or chat.think_close)[2]
    for tag in filter(None, chat.tags()):
        text = text.replace(tag, " ")
    return text.strip()


def concluded(completion: str, chat: ChatFormat) -> str:
    """The part of a reply that holds its answer (``answer_part``) and none of its thinking; empty where that goes on.

    Without an answer tag it is what follows the thinking, whatever the format.
    """
    _, closed, said = completion.rpartition(chat.think_close)
    return "" if not closed and chat.think_open in completion else answer_part(said, chat)


def read_answer(completion: str, right: str, chat: ChatFormat) -> str | None:
    """The answer, as it is written, that a reply gives to a question with an answer like ``right``, or None.

    Where ``right`` is a number, the last number of the part that holds the reply's answer. For any other, or where
    there is no number, that part's last line, of which what stands behind the last ``=`` counts unless ``right`` has
    one itself. Nothing but the kind of the right answer is looked at, which whoever asks knows: votes can be counted by
    it, and share ballots exactly where ``matches_answer`` would call two answers equal.
    """
    text = answer_part(completion, chat)
    number = None if number_value(right) is None else last_number(text)
    return number or (_last_line(text) if "=" in right else _last_line_value(text)) or None


def matches_answer(completion: str, answer: str, chat: ChatFormat) -> bool:
    """Whether a reply ends on ``answer``, whatever its form: what ``read_answer`` finds has the same ``answer_value``.

    ``It is 2,000.`` ends on ``2000``, and ``6.0`` on ``6``; texts are compared character by character.
    """
    given = read_answer(completion, answer, chat)
    return given is not None and answer_value(given) == answer_value(answer)


def extract_answer(completion: str, chat: ChatFormat) -> str | None:
    """The answer that a reply gives to a question of which nothing else is known, or None where it gives none.

    What an opened answer block comes to (the part of its last line behind the last ``=``), or the number alone where
    that is a number with its unit (``6 apples``, ``$6``). Without such a block, the reply's last number, or, where it
    holds no number, what its last line comes to. ``matches_answer`` calls it right where it is.
    """
    text = answer_part(completion, chat)
    opened = chat.answer_open != "" and chat.answer_open in completion
    value = _last_line_value(text)
    return (_quantity(value) if opened else last_number(text)) or value or None


def last_line(completion: str, chat: ChatFormat) -> str:
    """The last line of the part of a reply that holds its answer."""
    return _last_line(answer_part(completion, chat))


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2].strip()


def _last_line_value(text: str) -> str:
    """What the last line of ``text`` comes to: the part behind its last ``=``, or all of a line without one."""
    return _last_line(text).rpartition("=")[2].strip()


def _quantity(text: str) -> str | None:
    """The number of a text that holds one alone, with its unit behind it; None for ``Apollo 11`` and ``3/4``."""
    number = last_number(text)
    before = "" if number is None else text.rpartition(number)[0]
    return None if any(character.isalnum() for character in before) else number


def tagged_answer(completion: str, chat: ChatFormat) -> str | None:
    """The answer of a reply that ends with its one answer block, or None for any other form.

    Before the block stands nothing, or thinking in the strict form (``parse_reply``); questions of knowledge need none.
    """
    reply = parse_reply(completion, chat)
    if reply is not None:
        return reply.answer
    inside = completion.removeprefix(chat.answer_open).removesuffix(chat.answer_close)
    whole = completion == f"{chat.answer_open}{inside}{chat.answer_close}"
    bare = not any(symbol in inside for symbol in chat.symbols() if symbol)
    return inside.strip() or None if whole and bare else None


def cut_off(completions: Sequence[str], truncated: Sequence[bool] | None) -> Sequence[bool]:
    """Which completions the length limit cut off; none where the rollout doesn't say (no column ``truncated``)."""
    return [False] * len(completions) if truncated is None else truncated


def score_each(
    score: Callable[..., float],
    completions: Sequence[str],
    truncated: Sequence[bool] | None,
    chat: ChatFormat | None,
    *columns: Sequence[Any],
) -> list[float]:
    """``score(completion, chat, *of its columns)`` of each one; 0.0, unasked, where the length limit cut it off."""
    rows = zip(cut_off(completions, truncated), completions, *columns, strict=True)
    return [0.0 if cut else float(score(text, chat or ChatFormat(), *others)) for cut, text, *others in rows]
