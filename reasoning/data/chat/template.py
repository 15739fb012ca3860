"""A chat format as the jinja template that other programs read beside a model; nothing here executes one."""

from collections.abc import Callable
from typing import Any

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.turns import quoted


def chat_template(chat: ChatFormat) -> str:
    """What ``tokenizer_config.json`` holds as ``chat_template``, for transformers' ``apply_chat_template`` and vLLM.

    Writes what ``ChatFormat.conversation`` and ``opening`` (with ``add_generation_prompt``) or ``document`` (without)
    write. The date is that of the format. Raises InputError where a function of the format has no ``template``.
    """
    before, content = _written(chat.turns, "turns")(chat)
    thinking = () if chat.thinking is None else _written(chat.thinking, "thinking")(chat)
    lines = [*before, "{%- for turn in turns %}", *content, *thinking, *_turn(chat), "{%- endfor %}"]
    prompt = f"{{%- if add_generation_prompt %}}{{{{- {quoted(chat.assistant + chat.opening)} }}}}{{%- endif %}}"
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
    return [
        f"{{%- if turn['role'] == 'assistant' %}}{{{{- {quoted(chat.assistant)} + content + {quoted(chat.end)} }}}}",
        *after,
        f"{{%- elif turn['role'] == 'user' %}}{{{{- {quoted(chat.user)} + content + {quoted(chat.close)} }}}}",
        f"{{%- else %}}{{{{- {quoted(chat.system)} + content + {quoted(chat.close)} }}}}{{%- endif %}}",
    ]
