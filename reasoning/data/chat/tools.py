"""How a family writes tools: functions that a chat format names, from calls and results of tools to plain turns.

Each is called with the format, the turns of a conversation and the JSON schemas of the tools that are on offer. It
gives the texts with which the rest is written, and the turns: what the assistant calls has become its text, what tools
answered has become turns of the role ``tool``; a turn keeps its ``calls`` only where those don't count as turns. It
comes before ``turns`` and ``thinking``. ``template`` gives the same as lines of jinja that rewrite ``messages`` by
``tools``, and may set ``environment``, which begins what the system says.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from reasoning.core.errors import InputError
from reasoning.data.chat.texts import ChatTexts, ToolCall, Turn, quoted

_LINE = "\n"
_REWRITE = (
    "{%- set written = namespace(messages=[]) %}{%- for message in messages %}",
    "{%- set content = message['content'] or '' %}{%- if message['role'] == 'tool' %}",
)
"""Opens a loop over messages, and in it the branch of what tools answer, which sets ``content`` …"""

_REWRITTEN = (
    "{%- set content = said.text %}{%- endif %}",
    "{%- set written.messages = written.messages + [{'role': message['role'], 'content': content}] %}{%- endfor %}",
    "{%- set messages = written.messages %}",
)
"""… and closes the branch of calls, which sets ``said.text``, and the loop."""

Schemas = Sequence[Mapping[str, Any]]

_OFFER = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{schemas}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
"""Qwen's words, to the letter."""

_OFFER_OF_ONE = """Given the following functions, please respond with a JSON for a function call \
with its proper arguments that best answers the given prompt.

Respond in the format {{"name": function name, "parameters": dictionary of argument name and its value}}.\
Do not use variables.

{schemas}"""
"""Llama's words, to the letter."""


_NO_TEXT = "this chat format writes no text beside a call of a tool"
_NO_OFFER = "this chat format has no place for the tools on offer, say in the system's text what there is"
_ONE_ROUND = "this chat format writes one round of calls of tools a conversation"
_ANSWERED = "in this chat format what tools answer is followed by the assistant"
_NO_QUESTION = "this chat format offers tools before the last question, and the conversation has none"
_NO_ID = "this chat format names calls of tools by ids of nine letters and digits, and answers by tool_call_id"
_TOOL_MARK = "<｜tool▁"
_OUTPUTS_END = "<｜tool▁outputs▁end｜>"
_FENCE_END = "\n```<｜tool▁call▁end｜>"
_CALL_ID, _CALL_END = ', "id": "', '"}'
_RESULT, _RESULT_OF, _RESULT_END = '[TOOL_RESULTS]{"content": ', ', "call_id": "', '"}[/TOOL_RESULTS]'


@dataclass(frozen=True)
class TaggedTools:
    """Qwen's way: calls and results between tags, any number of them; what is on offer ends the system's text."""

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn], schemas: Schemas) -> tuple[ChatTexts, Sequence[Turn]]:
        written: list[Turn] = []
        for is_tool, group in groupby(turns, key=lambda turn: turn.role == "tool"):
            if is_tool:
                answers = "\n".join(f"<tool_response>\n{turn.content}\n</tool_response>" for turn in group)
                written.append(Turn("tool", answers, learn=False))
            else:
                written += [_called(turn, chat) for turn in group]
        if schemas:
            asked = _OFFER.format(schemas="\n".join(json_text(schema) for schema in schemas))
            first = bool(written) and written[0].role == "system"
            said = written[0].content if first else chat.default_system
            offer = asked if said is None else f"{said}\n\n{asked}"
            written = [Turn("system", offer, learn=False), *written[first:]]
        return chat, written

    def template(self, chat: ChatTexts) -> Sequence[str]:
        before, after = _OFFER.format(schemas="\0").split("\0")
        default = "" if chat.default_system is None else f"{chat.default_system}\n\n"
        answer = f"{quoted('<tool_response>' + _LINE)} + content + {quoted(_LINE + '</tool_response>')}"
        call = f"{quoted('<tool_call>' + _LINE)} + {_jinja_call('arguments')} + {quoted(_LINE + '</tool_call>')}"
        first = "messages and messages[0]['role'] == 'system'"
        return (
            *_REWRITE,
            f"{{%- set content = {answer} %}}",
            "{%- if not loop.first and messages[loop.index0 - 1]['role'] == 'tool' %}",
            f"{{%- set content = written.messages[-1]['content'] + {quoted(_LINE)} + content %}}",
            "{%- set written.messages = written.messages[:-1] %}{%- endif %}",
            "{%- elif message['tool_calls'] %}{%- set said = namespace(text=content) %}",
            "{%- for call in message['tool_calls'] %}{%- set call = call['function'] or call %}",
            f"{{%- set said.text = said.text + ({quoted(_LINE)} if said.text else '') + {call} %}}{{%- endfor %}}",
            *_REWRITTEN,
            f"{{%- if tools %}}{{%- set offer = namespace(text={quoted(before.removesuffix(_LINE))}) %}}",
            f"{{%- for tool in tools %}}{{%- set offer.text = offer.text + {quoted(_LINE)} + (tool | tojson) %}}",
            f"{{%- endfor %}}{{%- set offer = offer.text + {quoted(after)} %}}",
            f"{{%- if {first} %}}{{%- set offer = messages[0]['content'] + {quoted(_LINE * 2)} + offer %}}",
            "{%- set messages = messages[1:] %}",
            f"{{%- else %}}{{%- set offer = {quoted(default)} + offer %}}{{%- endif %}}",
            "{%- set messages = [{'role': 'system', 'content': offer}] + messages %}{%- endif %}",
        )


@dataclass(frozen=True)
class SingleCalls:
    """Llama 3.1's way: a turn is a text or one call, results are JSON; what is on offer begins the first question."""

    environment: str = "Environment: ipython\n"  # begins what the system says where there are tools on offer

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn], schemas: Schemas) -> tuple[ChatTexts, Sequence[Turn]]:
        written = [_single(turn) for turn in turns]
        if not schemas:
            return chat, written
        place = 1 if written and written[0].role == "system" else 0
        if len(written) <= place or written[place].role != "user":
            raise InputError("this chat format offers tools in the first question, and the conversation begins without")
        listed = "".join(json_text(schema, indent=4) + "\n\n" for schema in schemas)
        asked = _OFFER_OF_ONE.format(schemas=listed) + written[place].content.strip()
        written[place] = replace(written[place], content=asked)
        return replace(chat, preface=self.environment + chat.preface), written

    def template(self, chat: ChatTexts) -> Sequence[str]:
        refused = "this chat format writes one call of a tool a turn, and no text beside it"
        none = "this chat format offers tools in the first question, and the conversation begins without"
        asked = "offer.text + (messages[place]['content'] | trim)"
        return (
            *_REWRITE,
            "{%- set content = content | tojson %}",
            "{%- elif message['tool_calls'] %}",
            "{%- if message['tool_calls'] | length > 1 or content | trim %}",
            f"{{{{- raise_exception({quoted(refused)}) }}}}",
            "{%- endif %}{%- set call = message['tool_calls'][0]['function'] or message['tool_calls'][0] %}",
            f"{{%- set said = namespace(text={_jinja_call('parameters')}) %}}",
            *_REWRITTEN,
            f"{{%- if tools %}}{{%- set environment = {quoted(self.environment)} %}}",
            f"{{%- set offer = namespace(text={quoted(_OFFER_OF_ONE.format(schemas=''))}) %}}",
            "{%- for tool in tools %}",
            f"{{%- set offer.text = offer.text + (tool | tojson(indent=4)) + {quoted(_LINE * 2)} %}}{{%- endfor %}}",
            "{%- set place = 1 if messages and messages[0]['role'] == 'system' else 0 %}",
            "{%- if messages | length <= place or messages[place]['role'] != 'user' %}",
            f"{{{{- raise_exception({quoted(none)}) }}}}{{%- endif %}}",
            f"{{%- set question = [{{'role': 'user', 'content': {asked}}}] %}}",
            "{%- set messages = messages[:place] + question + messages[place + 1:] %}{%- endif %}",
        )


@dataclass(frozen=True)
class FencedCalls:
    """DeepSeek's way: one round of calls in blocks of JSON, no text beside them; what is on offer has no place.

    The template never begins a second round of calls, or of answers, anew, so more are refused.
    """

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn], schemas: Schemas) -> tuple[ChatTexts, Sequence[Turn]]:
        rounds = [turn for turn in turns if turn.calls]
        if schemas:
            raise InputError(_NO_OFFER)
        if len(rounds) > 1:
            raise InputError(f"{_ONE_ROUND}; here are {len(rounds)}; cut the conversation")
        if any(turn.content for turn in rounds):
            raise InputError(f"{_NO_TEXT}; here are {len(rounds[0].content)} characters; take them out")
        if held := [turn for turn in turns if _TOOL_MARK in turn.content]:
            raise InputError(f"a turn of the {held[0].role} holds {_TOOL_MARK}, which only the chat format may write")
        written: list[Turn] = []
        for role, group in groupby(turns, key=lambda turn: turn.role):
            if role != "tool":
                if written and written[-1].role == "tool" and role != "assistant":
                    raise InputError(_ANSWERED)
                written += [replace(turn, content=_fenced(turn), calls=()) if turn.calls else turn for turn in group]
            else:
                answers = "".join(f"<｜tool▁output▁begin｜>{turn.content}<｜tool▁output▁end｜>" for turn in group)
                written.append(Turn("tool", f"<｜tool▁outputs▁begin｜>{answers}{_OUTPUTS_END}", learn=False))
        return chat, written

    def template(self, chat: ChatTexts) -> Sequence[str]:
        call, fence = quoted("<｜tool▁call▁begin｜>function<｜tool▁sep｜>"), quoted("\n```json\n")
        given = "(call['arguments'] if call['arguments'] is string else call['arguments'] | tojson)"
        answer = f"{quoted('<｜tool▁output▁begin｜>')} + content + {quoted('<｜tool▁output▁end｜>')}"
        return (
            f"{{%- if tools %}}{{{{- raise_exception({quoted(_NO_OFFER)}) }}}}{{%- endif %}}",
            "{%- if messages | selectattr('tool_calls') | list | length > 1 %}",
            f"{{{{- raise_exception({quoted(_ONE_ROUND)}) }}}}{{%- endif %}}",
            *_REWRITE,
            f"{{%- set content = {answer} + {quoted(_OUTPUTS_END)} %}}",
            "{%- if not loop.first and messages[loop.index0 - 1]['role'] == 'tool' %}",
            f"{{%- set content = written.messages[-1]['content'][:-{len(_OUTPUTS_END)}] + content %}}",
            "{%- set written.messages = written.messages[:-1] %}",
            f"{{%- else %}}{{%- set content = {quoted('<｜tool▁outputs▁begin｜>')} + content %}}{{%- endif %}}",
            "{%- if not loop.last and messages[loop.index0 + 1]['role'] not in ('tool', 'assistant') %}",
            f"{{{{- raise_exception({quoted(_ANSWERED)}) }}}}{{%- endif %}}",
            "{%- elif message['tool_calls'] %}",
            f"{{%- if content %}}{{{{- raise_exception({quoted(_NO_TEXT)}) }}}}{{%- endif %}}",
            f"{{%- set said = namespace(text={quoted('<｜tool▁calls▁begin｜>')}) %}}",
            "{%- for call in message['tool_calls'] %}{%- set call = call['function'] or call %}",
            f"{{%- set said.text = said.text + ('' if loop.first else {quoted(_LINE)}) + {call} + call['name'] %}}",
            f"{{%- set said.text = said.text + {fence} + {given} + {quoted(_FENCE_END)} %}}{{%- endfor %}}",
            f"{{%- set said = namespace(text=said.text + {quoted('<｜tool▁calls▁end｜>')}) %}}",
            *_REWRITTEN,
        )


@dataclass(frozen=True)
class IdentifiedCalls:
    """Mistral's way: calls and answers share ids of nine signs, and the last question follows what is on offer.

    Every text of it stands in the turns, so ``tool`` and ``tool_close`` of the format are empty.
    """

    def __call__(self, chat: ChatTexts, turns: Sequence[Turn], schemas: Schemas) -> tuple[ChatTexts, Sequence[Turn]]:
        written = [_identified(turn) for turn in turns]
        if not schemas:
            return chat, written
        if not all(isinstance(schema.get("function"), Mapping) for schema in schemas):
            raise InputError("this chat format offers tools by their functions, and a schema has none")
        asked = [number for number, turn in enumerate(turns) if turn.role == "user"]
        if not asked:
            raise InputError(_NO_QUESTION)
        listed = ", ".join(_offered(schema["function"]) for schema in schemas)
        offer = Turn("tool", f"[AVAILABLE_TOOLS][{listed}][/AVAILABLE_TOOLS]", learn=False)
        return chat, [*written[: asked[-1]], offer, *written[asked[-1] :]]

    def template(self, chat: ChatTexts) -> Sequence[str]:
        begun = quoted('{"type": "function", "function": {')
        value = "(quote + value + quote if value is string else value | tojson)"
        return (
            *_REWRITE,
            "{%- if message['tool_call_id'] | default('', true) | length != 9 %}",
            f"{{{{- raise_exception({quoted(_NO_ID)}) }}}}{{%- endif %}}",
            f"{{%- set content = {quoted(_RESULT)} + content + {quoted(_RESULT_OF)} + message['tool_call_id'] %}}",
            f"{{%- set content = content + {quoted(_RESULT_END)} %}}",
            "{%- elif message['tool_calls'] %}",
            f"{{%- if content %}}{{{{- raise_exception({quoted(_NO_TEXT)}) }}}}{{%- endif %}}",
            "{%- set said = namespace(text='[TOOL_CALLS][') %}{%- for one in message['tool_calls'] %}",
            "{%- if one['id'] | default('', true) | length != 9 %}",
            f"{{{{- raise_exception({quoted(_NO_ID)}) }}}}{{%- endif %}}{{%- set call = one['function'] or one %}}",
            f"{{%- set said.text = said.text + ('' if loop.first else ', ') + ({_jinja_call('arguments')})[:-1] %}}",
            f"{{%- set said.text = said.text + {quoted(_CALL_ID)} + one['id'] + {quoted(_CALL_END)} %}}{{%- endfor %}}",
            "{%- set content = said.text + ']' %}{%- endif %}",
            "{%- set turn = {'role': message['role'], 'content': content, 'called': message['tool_calls']} %}",
            "{%- set written.messages = written.messages + [turn] %}{%- endfor %}",
            "{%- set messages = written.messages %}{%- if tools %}",
            f"{{%- set quote = {quoted(chr(34))} %}}{{%- set offer = namespace(text='[AVAILABLE_TOOLS][', last=-1) %}}",
            f"{{%- for tool in tools %}}{{%- set offer.text = offer.text + ('' if loop.first else ', ') + {begun} %}}",
            "{%- for key, value in tool['function'].items() if key != 'return' %}",
            "{%- set offer.text = offer.text + ('' if loop.first else ', ') + quote + key + quote + ': ' %}",
            f"{{%- set offer.text = offer.text + {value} %}}",
            "{%- endfor %}{%- set offer.text = offer.text + '}}' %}{%- endfor %}",
            "{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set offer.last = loop.index0 %}",
            "{%- endif %}{%- endfor %}{%- if offer.last < 0 %}",
            f"{{{{- raise_exception({quoted(_NO_QUESTION)}) }}}}",
            "{%- endif %}{%- set offered = [{'role': 'tool', 'content': offer.text + '][/AVAILABLE_TOOLS]'}] %}",
            "{%- set messages = messages[:offer.last] + offered + messages[offer.last:] %}{%- endif %}",
        )


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON as transformers' ``tojson`` writes it into templates: keys as they come, letters as they are."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _called(turn: Turn, chat: ChatTexts) -> Turn:
    if not turn.calls:
        return turn
    texts = [f"<tool_call>\n{_call(call, 'arguments')}\n</tool_call>" for call in turn.calls]
    if any(tag and tag in text for tag in (chat.think_open, chat.think_close) for text in texts):
        raise InputError("a call of a tool holds a tag of thinking, by which replies are cut; take it out")
    return replace(turn, content="\n".join([turn.content, *texts] if turn.content else texts), calls=())


def _single(turn: Turn) -> Turn:
    if turn.role == "tool":
        return replace(turn, content=json_text(turn.content))
    if not turn.calls:
        return turn
    first, *others = turn.calls
    if others or turn.content.strip():
        raise InputError(
            f"this chat format writes one call of a tool a turn, and no text beside it; here are {len(turn.calls)} and "
            f"{len(turn.content)} characters; give each a turn of its own"
        )
    return replace(turn, content=_call(first, "parameters"), calls=())


def _jinja_call(arguments: str) -> str:
    given = "(call['arguments'] if call['arguments'] is string else call['arguments'] | tojson)"
    return f"""{quoted('{"name": "')} + call['name'] + {quoted(f'", "{arguments}": ')} + {given} + '}}'"""


def _call(call: ToolCall, arguments: str) -> str:
    return f'{{"name": "{call.name}", "{arguments}": {call.arguments}}}'


def _fenced(turn: Turn) -> str:
    calls = (
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{call.name}\n```json\n{call.arguments}{_FENCE_END}"
        for call in turn.calls
    )
    return f"<｜tool▁calls▁begin｜>{_LINE.join(calls)}<｜tool▁calls▁end｜>"


def _identified(turn: Turn) -> Turn:
    if turn.role == "tool":
        return replace(turn, content=f"{_RESULT}{turn.content}{_RESULT_OF}{_checked_id(turn.call_id)}{_RESULT_END}")
    if not turn.calls:
        return turn
    if turn.content:
        raise InputError(f"{_NO_TEXT}; here are {len(turn.content)} characters; take them out")
    calls = (_call(call, "arguments")[:-1] + _CALL_ID + _checked_id(call.id) + _CALL_END for call in turn.calls)
    return replace(turn, content=f"[TOOL_CALLS][{', '.join(calls)}]")


def _checked_id(name: str) -> str:
    if len(name) != 9 or not name.isalnum():
        raise InputError(f"{_NO_ID}; here is {name!r:.40}")
    return name


def _offered(function: Mapping[str, Any]) -> str:
    fields = (
        f'"{key}": "{value}"' if isinstance(value, str) else f'"{key}": {json_text(value)}'
        for key, value in function.items()
        if key != "return"
    )
    return f'{{"type": "function", "function": {{{", ".join(fields)}}}}}'
