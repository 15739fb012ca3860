"""A chat format as the jinja template that other programs read beside a model; nothing here executes one."""

from collections.abc import Callable
from typing import Any

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.texts import quoted

_NO_TOOLS = (
    "{%- if tools or messages | selectattr('role', 'equalto', 'tool') | list "
    "or messages | selectattr('tool_calls') | list %}",
    "{{- raise_exception('this chat format writes no tools') }}{%- endif %}",
)


def chat_template(chat: ChatFormat) -> str:
    """What ``tokenizer_config.json`` holds as ``chat_template``, for transformers' ``apply_chat_template`` and vLLM.

    Writes what ``ChatFormat.conversation`` and ``opening`` (with ``add_generation_prompt``) or ``document`` (without)
    write, tools included where the format has them. The date is that of the format. Raises InputError where a function
    of the format has no ``template``.
    """
    before, content = _written(chat.turns, "turns")(chat)
    thinking = () if chat.thinking is None else _written(chat.thinking, "thinking")(chat)
    tools = _NO_TOOLS if chat.tools is None else _written(chat.tools, "tools")(chat)
    lines = [*tools, *before, "{%- for turn in turns %}", *content, *thinking, *_turn(chat), "{%- endfor %}"]
    opened = quoted(chat.assistant + chat.opening)
    if chat.resume is not None:
        opened = f"{quoted(chat.resume)} if turns and turns[-1]['role'] == 'tool' else {opened}"
    prompt = f"{{%- if add_generation_prompt %}}{{{{- {opened} }}}}{{%- endif %}}"
    return "\n".join([*lines, prompt])


def _written(function: Callable[..., Any], field: str) -> Callable[[ChatFormat], Any]:
    template = getattr(function, "template", None)
    if template is None:
        name = getattr(function, "__name__", type(function).__name__)
        raise InputError(
            f"the chat format has {field} = {name}, which can't say itself in jinja; make it a record with __call__ "
            f"and template, as those of data.chat.{field} are"
        )
    return template


def _turn(chat: ChatFormat) -> list[str]:
    """Writes a turn around its ``content``."""
    after = [f"{{{{- {quoted(chat.after)} }}}}"] if chat.after or not chat.between else []
    if chat.between:
        after.append(f"{{%- if not loop.last %}}{{{{- {quoted(chat.between)} }}}}{{%- endif %}}")
    tool_close = chat.close if chat.tool_close is None else chat.tool_close
    said = (("user", chat.user, chat.close), *((("tool", chat.tool, tool_close),) if chat.tools else ()))
    opened = quoted(chat.assistant)
    if chat.resume is not None:
        behind_tool = "not loop.first and turns[loop.index0 - 1]['role'] == 'tool'"
        opened = f"({quoted(chat.resume)} if {behind_tool} else {opened})"
    return [
        f"{{%- if turn['role'] == 'assistant' %}}{{{{- {opened} + content + {quoted(chat.end)} }}}}",
        *after,
        *(
            f"{{%- elif turn['role'] == '{role}' %}}{{{{- {quoted(opener)} + content + {quoted(close)} }}}}"
            for role, opener, close in said
        ),
        f"{{%- else %}}{{{{- {quoted(chat.system)} + content + {quoted(chat.close)} }}}}{{%- endif %}}",
    ]
