"""Where a family writes what the system says, and which order of turns it takes: functions that a chat format names.

Each is called with the format and the turns of a conversation, and gives what stands before the first turn, and the
turns that are written. ``template`` gives the same as lines of jinja: those before the loop over the turns, which write
``start`` and set ``turns`` and ``asked``, and those inside it, which set ``content``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reasoning.core.errors import InputError
from reasoning.data.chat.texts import ChatTexts, Turn, quoted

_ASKED = (
    "{%- set asked = namespace(first=-1, last=-1) %}",
    "{%- for turn in turns %}{%- if turn['role'] == 'user' %}{%- set asked.last = loop.index0 %}",
    "{%- if asked.first < 0 %}{%- set asked.first = loop.index0 %}{%- endif %}{%- endif %}{%- endfor %}",
)
"""Finds the first and the last question."""

_ALTERNATING = (
    "{%- set spoken = namespace(count=0) %}{%- for turn in turns %}",
    "{%- if turn['role'] != 'tool' and not turn['called'] %}",
    "{%- if (turn['role'] == 'user') != (spoken.count % 2 == 0) %}",
    "{{- raise_exception('user and assistant must take turns, beginning with the user') }}{%- endif %}",
    "{%- set spoken.count = spoken.count + 1 %}{%- endif %}{%- endfor %}",
)
"""What tools answer, and calls of them, are between turns."""


@dataclass(frozen=True)
class SystemTurn:
    """The system has the first turn; it says ``default_system`` where the conversation has no message of it."""

    trim: bool = False  # no white space around what is said

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn]) -> tuple[str, Sequence[Turn]]:
        said, rest = _split(chat, turns)
        rest = _trimmed(rest) if self.trim else rest
        if said is None:
            return "", rest
        preface = chat.preface.replace("{date}", chat.date)
        return chat.system + preface + (said.strip() if self.trim else said) + chat.close, rest

    def template(self, chat: ChatTexts) -> tuple[Sequence[str], Sequence[str]]:
        preface = quoted(chat.preface.replace("{date}", chat.date))
        before = f"{quoted(chat.system)} + (environment | default('')) + {preface}"
        said = "said | trim" if self.trim else "said"
        written = f"{{{{- {before} + ({said}) + {quoted(chat.close)} }}}}"
        shown = f"{{%- if said is not none %}}{written}{{%- endif %}}"
        return (*_first_message(chat), shown, *_ASKED), (_content(self.trim),)


@dataclass(frozen=True)
class SystemAtStart:
    """All that the system says, whenever it does, stands before the first turn, with blank lines between."""

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn]) -> tuple[str, Sequence[Turn]]:
        said = "\n\n".join(turn.content for turn in turns if turn.role == "system")
        return said or chat.default_system or "", [turn for turn in turns if turn.role != "system"]

    def template(self, chat: ChatTexts) -> tuple[Sequence[str], Sequence[str]]:
        default = f" | default({quoted(chat.default_system)}, true)" if chat.default_system else ""
        before = (
            "{%- set systems = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') %}",
            f"{{{{- {quoted(chat.start)} + (systems | join('\\n\\n'){default}) }}}}",
            "{%- set turns = messages | rejectattr('role', 'equalto', 'system') | list %}",
        )
        return (*before, *_ASKED), (_content(trim=False),)


@dataclass(frozen=True)
class SystemInQuestion:
    """What the system says begins a question; user and assistant must take turns, or InputError is raised."""

    last: bool = False  # the last question of the conversation, not the first
    trim: bool = False  # no white space around what user and assistant say

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn]) -> tuple[str, Sequence[Turn]]:
        said, rest = _split(chat, turns)
        spoken = [turn for turn in rest if turn.role != "tool" and not turn.calls]
        if any((turn.role == "user") != (number % 2 == 0) for number, turn in enumerate(spoken)):
            raise InputError("user and assistant must take turns in this chat format, beginning with the user")
        written = list(_trimmed(rest) if self.trim else rest)
        asked = [number for number, turn in enumerate(written) if turn.role == "user"]
        if said is not None and asked:
            place = asked[-1 if self.last else 0]
            written[place] = replace(written[place], content=f"{said}\n\n{written[place].content}")
        return "", written

    def template(self, chat: ChatTexts) -> tuple[Sequence[str], Sequence[str]]:
        begun = (
            f"{{%- if loop.index0 == asked.{'last' if self.last else 'first'} and said is not none %}}"
            "{%- set content = said + '\\n\\n' + content %}{%- endif %}"
        )
        return (*_first_message(chat), *_ASKED, *_ALTERNATING), (_content(self.trim), begun)


def _split(chat: ChatTexts, turns: Sequence[Turn]) -> tuple[str | None, Sequence[Turn]]:
    """What a system that speaks first says, or else by default, and the turns of the others."""
    first = bool(turns) and turns[0].role == "system"
    return (turns[0].content, turns[1:]) if first else (chat.default_system, turns)


def _trimmed(turns: Sequence[Turn]) -> Sequence[Turn]:
    return [replace(turn, content=turn.content.strip()) for turn in turns]


def _first_message(chat: ChatTexts) -> tuple[str, ...]:
    """Sets ``said`` and ``turns`` as ``_split`` does; writes ``start``."""
    default = "none" if chat.default_system is None else quoted(chat.default_system)
    return (
        "{%- if messages[0]['role'] == 'system' %}",
        "{%- set said = messages[0]['content'] %}{%- set turns = messages[1:] %}",
        f"{{%- else %}}{{%- set said = {default} %}}{{%- set turns = messages %}}{{%- endif %}}",
        f"{{{{- {quoted(chat.start)} }}}}",
    )


def _content(trim: bool) -> str:
    return f"{{%- set content = turn['content']{' | trim' if trim else ''} %}}"
