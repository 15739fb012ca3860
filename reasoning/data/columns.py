"""What a row of somebody's dataset becomes: running text, a conversation, or a prompt with its completion."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document

_LAYOUTS = (("text",), ("messages",), ("prompt", "completion"), ("prompt", "answer"), ("question", "answer"))
"""Column names that are understood unasked: one column is a text or a conversation, two a prompt and its completion."""


_READ = ("role", "content")
_SHARES = ("weight", "train")
"""How much of a message is learnt; one, or true, is all of it."""

_CHANGING = ("tool_calls", "function_call", "reasoning_content", *_SHARES)
"""Keys of other programs' messages without which a message isn't the same."""

_LISTS = (list, tuple, np.ndarray)

_WRITTEN_OUT = re.compile(r"""\s*\[\s*\{\s*["'](role|content|from|value)["']\s*:""")
"""How a list of messages begins that was written as a text, by json or by Python's str."""


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


def read_row(row: Mapping[str, Any], layout: tuple[str, ...], chat: ChatFormat, where: str) -> Document:
    """Make a document of one row. Raises InputError naming place and column where a value can't be used."""
    for name in layout:
        if name != "text" and isinstance(row[name], str | bytes):
            _check_no_messages(row[name], f"{where}, {name}")
    if len(layout) == 2:
        prompt, completion = (_text(row[name], chat, f"{where}, {name}") for name in layout)
        return chat.exchange(prompt, completion)
    value, place = row[layout[0]], f"{where}, {layout[0]}"
    if isinstance(value, str | bytes) or value is None:
        return chat.plain(_text(value, chat, place))
    messages = [
        _message(message, chat, f"{place}, message {number}") for number, message in enumerate(_messages(value, place))
    ]
    try:
        return chat.document(messages)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _check_no_messages(value: str | bytes, place: str) -> None:
    """Raises InputError for a conversation that was written as a text: it would be learnt letter by letter."""
    text = value if isinstance(value, str) else value.decode(errors="replace")
    if _WRITTEN_OUT.match(text):
        raise InputError(
            f"{place}: {text[:60]!r} is a list of messages written as a text; store the list itself (json.loads gives "
            "it), or name the column 'text' where it is to be learnt as it stands"
        )


def _messages(value: Any, place: str) -> list[Mapping[str, Any]]:
    """Messages as a list of records; TFDS stores a sequence of records as a record of sequences."""
    if isinstance(value, Mapping) and all(isinstance(value.get(key), _LISTS) for key in _READ):
        columns = {key: part for key, part in value.items() if isinstance(part, _LISTS)}
        if len({len(part) for part in columns.values()}) > 1:
            raise InputError(f"{place}: the lists {', '.join(columns)} of one conversation differ in length")
        return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]
    if isinstance(value, Sequence) and all(isinstance(message, Mapping) for message in value):
        return list(value)
    raise InputError(f"{place}: expected a text or a list of messages with role and content, got {str(value)[:60]!r}")


def _message(message: Mapping[str, Any], chat: ChatFormat, place: str) -> dict[str, str]:
    """Role and content of a message, the keys beside them left out.

    Raises InputError for a key that says that something else is to be learnt than the content, unless it is empty.
    """
    for key in _CHANGING:
        value = message.get(key)
        empty = value is None or (isinstance(value, str | bytes | Sequence | Mapping | np.ndarray) and not len(value))
        if not empty and not (key in _SHARES and value == 1):
            raise InputError(f"{place}: {key} is {value!r:.60}, which isn't learnt from; take it out of the data")
    return {key: _text(message[key], chat, place) for key in _READ if key in message}


def _text(value: Any, chat: ChatFormat, place: str) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{place}: not UTF-8 text (byte {error.start})") from None
    if not isinstance(value, str):
        raise InputError(f"{place}: expected a text, got {value!r:.60}")
    held = [symbol for symbol in chat.structure() if symbol in value]
    if held:
        raise InputError(
            f"{place}: the text holds {', '.join(held)}, which only the chat format may write; "
            "take it out of the data, or give the chat format other symbols"
        )
    return value
