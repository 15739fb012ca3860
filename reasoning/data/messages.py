"""Conversations as other programs store them, read into turns: TRL's messages and ShareGPT's conversations.

A message has role and content (TRL), or from and value (ShareGPT). Tools: TRL's ``tool_calls`` of an assistant and
messages of the role ``tool``; ShareGPT's ``function_call`` and ``observation``, as LLaMA-Factory writes them. What is
learnt of a conversation: the assistant's turns, but for those with ``train: false`` (axolotl) or ``weight: 0`` (OpenAI,
Mistral); a weight between 0 and 1 is what a turn's tokens weigh beside others.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.files import parse_json
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.texts import ToolCall, Turn

_ROLES = {role: role for role in ("system", "user", "assistant", "tool")}
_SPEAKERS = _ROLES | {"human": "user", "gpt": "assistant", "observation": "tool", "function_call": "assistant"}
_FORMS = {"role": ("content", _ROLES), "from": ("value", _SPEAKERS)}
"""By the key that says who speaks: the key of what is said, and what speakers are called."""

_UNREAD = ("function_call", "reasoning_content")
"""Keys of other programs' messages without which a message isn't the same, and which aren't read."""

_LISTS = (list, tuple, np.ndarray)

_WRITTEN_OUT = re.compile(r"""\s*\[\s*\{\s*["'](role|content|from|value)["']\s*:""")
"""How a list of messages begins that was written as a text, by json or by Python's str."""


def read_turns(value: Any, chat: ChatFormat, place: str, learn: bool = True) -> list[Turn]:
    """The turns of a conversation in any of the forms above; without ``learn`` all of it is only read.

    TFDS stores a sequence of records as a record of sequences; that is read too. Raises InputError, beginning with
    ``place``, for anything else, and naming the message.
    """
    messages = enumerate(_messages(value, place))
    return [_turn(message, chat, f"{place}, message {number}", learn) for number, message in messages]


def read_schemas(value: Any, chat: ChatFormat, place: str) -> list[Mapping[str, Any]]:
    """The JSON schemas of the tools on offer: a list of them, or its JSON text. Raises InputError for anything else."""
    if isinstance(value, str | bytes):
        value = parse_json(read_text(value, chat, place), place) if value else []
    if is_empty(value):
        return []
    if not isinstance(value, _LISTS) or not all(isinstance(schema, Mapping) for schema in value):
        raise InputError(f"{place}: expected a list of JSON schemas of tools, got {value!r:.60}")
    _check_filled(value, place)
    for schema in value:
        _check_symbols(json.dumps(schema, ensure_ascii=False, default=str), chat, place)
    return list(value)


def check_no_messages(value: str | bytes, place: str) -> None:
    """Raises InputError for a conversation that was written as a text: it would be learnt letter by letter."""
    text = value if isinstance(value, str) else value.decode(errors="replace")
    if _WRITTEN_OUT.match(text):
        raise InputError(
            f"{place}: {text[:60]!r} is a list of messages written as a text; store the list itself (json.loads gives "
            "it), or name the column 'text' where it is to be learnt as it stands"
        )


def read_text(value: Any, chat: ChatFormat, place: str) -> str:
    """A text that a conversation may hold. Raises InputError where it is none, or holds the chat format's symbols."""
    text = _decoded(value, place)
    if "\0" in text:
        raise InputError(f"{place}: the text holds a NUL character; take it out of the data")
    _check_symbols(text, chat, place)
    return text


def _decoded(value: Any, place: str) -> str:
    try:
        value = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8 text (byte {error.start})") from None
    if not isinstance(value, str):
        raise InputError(f"{place}: expected a text, got {value!r:.60}")
    return value


def is_empty(value: Any) -> bool:
    """Whether a column or key says nothing: it is missing, null, or holds nothing."""
    return value is None or (isinstance(value, str | bytes | Sequence | Mapping | np.ndarray) and not len(value))


def _check_symbols(text: str, chat: ChatFormat, place: str) -> None:
    held = [symbol for symbol in chat.structure() if symbol in text]
    if held:
        raise InputError(
            f"{place}: the text holds {', '.join(held)}, which only the chat format may write; "
            "take it out of the data, or give the chat format other symbols"
        )


def _messages(value: Any, place: str) -> Sequence[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        for speaker, (said, _) in _FORMS.items():
            if all(isinstance(value.get(key), _LISTS) for key in (speaker, said)):
                columns = {key: part for key, part in value.items() if isinstance(part, _LISTS)}
                if len({len(part) for part in columns.values()}) > 1:
                    raise InputError(f"{place}: the lists {', '.join(columns)} of one conversation differ in length")
                return [dict(zip(columns, parts, strict=True)) for parts in zip(*columns.values(), strict=True)]
    if isinstance(value, _LISTS) and all(isinstance(message, Mapping) for message in value):
        return list(value)
    raise InputError(f"{place}: expected a text or a list of messages with role and content, got {str(value)[:60]!r}")


def _turn(message: Mapping[str, Any], chat: ChatFormat, place: str, learn: bool) -> Turn:
    found = [key for key in _FORMS if not is_empty(message.get(key))]
    if len(found) != 1:
        keys = ", ".join(map(str, message)) or "none"
        raise InputError(f"{place}: it must have role and content, or from and value; its keys are {keys:.200}")
    said_key, known = _FORMS[found[0]]
    speaker, said = _decoded(message[found[0]], place), message.get(said_key)
    if speaker not in known:
        raise InputError(f"{place}: the {found[0]} {speaker!r:.60} is unknown; those known are {', '.join(known)}")
    for key in _UNREAD:
        if not is_empty(message.get(key)):
            raise InputError(
                f"{place}: {key} is {message[key]!r:.60}, which isn't learnt from; take it out of the data"
            )
    calls = _calls(message.get("tool_calls"), chat, place)
    if speaker == "function_call":
        calls, said = _calls(_parsed(said, chat, f"{place}, {said_key}"), chat, place), ""
        if not calls:
            raise InputError(f"{place}: a function_call without a call in its {said_key}")
    role = known[speaker]
    if calls and role != "assistant":
        raise InputError(f"{place}: tool_calls is set in a turn of the {role}; only the assistant calls tools")
    content = "" if said is None and calls else read_text(_single(said, place), chat, place)
    weight = _weight(message, role, place) if learn else 0.0
    answers = _identity(message.get("tool_call_id"), place)
    return Turn(role, content, learn=weight > 0, calls=calls, weight=weight or 1.0, call_id=answers)


def _identity(value: Any, place: str) -> str:
    """What names a call; formats that write it check it."""
    return _decoded(value, place) if isinstance(value, str | bytes) else ""


def _single(said: Any, place: str) -> Any:
    if isinstance(said, _LISTS):
        raise InputError(
            f"{place}: content is a list of {len(said)} parts, as messages with images have it; give one text"
        )
    return said


def _weight(message: Mapping[str, Any], role: str, place: str) -> float:
    """What a turn weighs by its ``weight`` and ``train``, and its role; 0: it is only read."""
    weight, train = (message[key] if message.get(key) is not None else 1 for key in ("weight", "train"))
    if not isinstance(train, bool | int | float | np.number | np.bool_) or train not in (0, 1):
        raise InputError(f"{place}: train is {train!r:.60}; a turn is learnt (1, true) or only read (0, false)")
    if train and role != "assistant" and message.get("train") is not None:
        raise InputError(f"{place}: train is true in a turn of the {role}; only the assistant's are learnt")
    share = read_weight(weight, f"{place}: weight")
    return share if role == "assistant" and train else 0.0


def read_weight(value: Any, place: str) -> float:
    """How much something learnt weighs, 0 to 1. Raises InputError for anything else."""
    if not isinstance(value, bool | int | float | np.number | np.bool_) or not 0 <= value <= 1:
        raise InputError(f"{place} is {value!r:.60}; give a number from 0, which is only read, to 1, which is learnt")
    return float(value)


def _calls(value: Any, chat: ChatFormat, place: str) -> tuple[ToolCall, ...]:
    """TRL's list of ``{"type": "function", "function": {"name", "arguments"}}``, the inner record alone, or one."""
    if is_empty(value):
        return ()
    calls = [value] if isinstance(value, Mapping) else value
    if not isinstance(calls, _LISTS):
        raise InputError(f"{place}: tool_calls must be a list of calls, got {value!r:.60}")
    return tuple(_call(call, chat, f"{place}, call {number}") for number, call in enumerate(calls))


def _call(value: Any, chat: ChatFormat, place: str) -> ToolCall:
    call = value.get("function", value) if isinstance(value, Mapping) else value
    name = call.get("name") if isinstance(call, Mapping) else None
    if not isinstance(name, str | bytes) or not name or "arguments" not in call:
        raise InputError(f"{place}: a call needs a function with a name and arguments, got {value!r:.60}")
    name, arguments = read_text(name, chat, place), call["arguments"]
    if json.dumps(name, ensure_ascii=False) != f'"{name}"':
        raise InputError(f"{place}: {name!r:.60} is no name of a function")
    if isinstance(arguments, str | bytes):
        written, arguments = read_text(arguments, chat, place), _parsed(arguments, chat, place)
    else:
        _check_filled(arguments, place)
        written = json.dumps(arguments, ensure_ascii=False, default=str)
        _check_symbols(written, chat, place)
    if not isinstance(arguments, Mapping):
        raise InputError(f"{place}: the arguments of a call must be a JSON object, got {written:.60}")
    return ToolCall(name, written, _identity(value.get("id"), place))


def _check_filled(value: Any, place: str) -> None:
    """Raises InputError for null inside: Parquet's structs have every field that another row has, filled with it."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if inner is None:
            raise InputError(
                f"{place}: a null inside, as Parquet fills fields with that only other rows have; store arguments and "
                "tools as JSON texts, in which null may stand"
            )
        if isinstance(inner, Mapping | list | tuple | np.ndarray):
            waiting += inner.values() if isinstance(inner, Mapping) else inner


def _parsed(value: Any, chat: ChatFormat, place: str) -> Any:
    return parse_json(read_text(value, chat, place), place)
