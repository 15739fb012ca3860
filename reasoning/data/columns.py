"""What a row of somebody's dataset becomes: running text, a conversation, or a prompt with its completion."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.texts import Turn
from reasoning.data.documents import Document, weighed
from reasoning.data.messages import check_no_messages, is_empty, read_schemas, read_text, read_turns, read_weight

_LAYOUTS = (
    ("text",),
    ("messages",),
    ("conversations",),
    ("prompt", "completion"),
    ("prompt", "answer"),
    ("question", "answer"),
)
"""Column names that are understood unasked: one column is a text or a conversation, two a prompt and its completion."""

_WEIGHT = "loss_weight"

_BESIDE = ("system", "tools", _WEIGHT)
"""Columns that belong to a conversation: what the system says first (ShareGPT), the schemas of tools (TRL), and what
those tokens of the row that are learnt weigh, above 0 and at most 1."""


def find_layout(columns: Iterable[str], chosen: Sequence[str], where: str) -> tuple[str, ...]:
    """The one or two columns to read: those chosen by the user, or else the one known layout that is there.

    Raises InputError that lists the columns, where a chosen one is missing, and where no layout or several fit.
    """
    present = sorted(columns)
    listed = ", ".join(present) or "none"
    if chosen:
        missing = [name for name in chosen if name not in present]
        if missing or len(chosen) > 2:
            raise InputError(f"{where}: columns = {tuple(chosen)} must name one or two of the columns found: {listed}")
        return tuple(chosen)
    fitting = [layout for layout in _LAYOUTS if set(layout) <= set(present)]
    if len(fitting) == 1:
        return fitting[0]
    known = "; ".join(" + ".join(layout) for layout in fitting or _LAYOUTS)
    problem = f"several layouts fit ({known})" if fitting else f"none of the known layouts fits ({known})"
    raise InputError(f"{where}: columns found: {listed}; {problem}; set columns to one or two of them")


def read_columns(layout: Sequence[str], columns: Iterable[str]) -> list[str]:
    """All columns that ``read_row`` looks at, of those that are there."""
    present = set(columns)
    return [*layout, *(name for name in _BESIDE if name in present and name not in layout)]


def read_row(row: Mapping[str, Any], layout: tuple[str, ...], chat: ChatFormat, where: str) -> Document:
    """Make a document of one row. Raises InputError naming place and column where a value can't be used."""
    weight = 1.0 if row.get(_WEIGHT) is None else read_weight(row[_WEIGHT], f"{where}, {_WEIGHT}")
    if weight == 0:
        raise InputError(f"{where}, {_WEIGHT} is 0, so that nothing of the row is learnt; take it out of the data")
    return weighed(_read(row, layout, chat, where), weight)


def _read(row: Mapping[str, Any], layout: tuple[str, ...], chat: ChatFormat, where: str) -> Document:
    for name in layout:
        if name != "text" and isinstance(row[name], str | bytes):
            check_no_messages(row[name], f"{where}, {name}")
    if all(_is_text(row[name]) for name in layout):
        texts = [read_text(row[name], chat, f"{where}, {name}") for name in layout]
        return chat.plain(texts[0]) if len(layout) == 1 else chat.exchange(*texts)
    turns = _turns(row, layout, chat, where)
    beside = {name: row[name] for name in ("system", "tools") if name not in layout and not is_empty(row.get(name))}
    if "system" in beside and any("from" in message for message in _first(row[layout[0]])):
        turns = [*_system(beside["system"], turns, chat, f"{where}, system"), *turns]
    schemas = read_schemas(beside.get("tools"), chat, f"{where}, tools")
    try:
        return chat.document_of(turns, schemas)
    except InputError as error:
        raise InputError(f"{where}, {layout[-1]}: {error}") from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes) or value is None


def _turns(row: Mapping[str, Any], layout: tuple[str, ...], chat: ChatFormat, where: str) -> list[Turn]:
    """The turns of a conversation; of two columns, texts or messages, the first is only read."""
    if len(layout) == 1:
        return read_turns(row[layout[0]], chat, f"{where}, {layout[0]}")
    turns: list[Turn] = []
    for name, role in zip(layout, ("user", "assistant"), strict=True):
        value, place, learn = row[name], f"{where}, {name}", role == "assistant"
        turns += (
            [Turn(role, read_text(value, chat, place), learn)]
            if _is_text(value)
            else read_turns(value, chat, place, learn)
        )
    return turns


def _first(value: Any) -> list[Any]:
    """The first message, or the record of lists that TFDS makes of them."""
    return [value] if isinstance(value, Mapping) else list(value[:1])


def _system(value: Any, turns: Sequence[Turn], chat: ChatFormat, place: str) -> list[Turn]:
    if turns and turns[0].role == "system":
        raise InputError(f"{place}: the conversation begins with a message of the system too; take out one of the two")
    return [Turn("system", read_text(value, chat, place), learn=False)]
