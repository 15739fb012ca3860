"""A chat format as the jinja template that other programs read beside a model; nothing here executes one."""

import json

from reasoning.data.chat.format import ChatFormat


def chat_template(chat: ChatFormat) -> str:
    """What ``tokenizer_config.json`` holds as ``chat_template``, for transformers' ``apply_chat_template`` and vLLM.

    Writes what ``ChatFormat.conversation`` and ``opening`` (with ``add_generation_prompt``) or ``document`` (without)
    write. The date is that of the format.
    """
    lines = [*_system(chat), *_order(chat), "{%- for turn in turns %}", *_content(chat), *_turn(chat), "{%- endfor %}"]
    prompt = f"{{%- if add_generation_prompt %}}{{{{- {_quoted(chat.assistant + chat.opening)} }}}}{{%- endif %}}"
    return "\n".join([*lines, prompt])


def _quoted(text: str) -> str:
    """A text as jinja's literal, whose escapes are a superset of JSON's."""
    return json.dumps(text, ensure_ascii=False)


def _system(chat: ChatFormat) -> list[str]:
    """What stands before the first turn; sets ``turns``, and ``said``, the system's text, where there is one."""
    if chat.system_place == "start":
        return [
            "{%- set systems = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') %}",
            f"{{{{- {_quoted(chat.start)} + (systems | join('\\n\\n')) }}}}",
            "{%- set turns = messages | rejectattr('role', 'equalto', 'system') | list %}",
        ]
    default = "none" if chat.default_system is None else _quoted(chat.default_system)
    found = [
        "{%- if messages[0]['role'] == 'system' %}",
        "{%- set said = messages[0]['content'] %}{%- set turns = messages[1:] %}",
        f"{{%- else %}}{{%- set said = {default} %}}{{%- set turns = messages %}}{{%- endif %}}",
        f"{{{{- {_quoted(chat.start)} }}}}",
    ]
    if chat.system_place != "turn":
        return found
    before = _quoted(chat.system + chat.preface.replace("{date}", chat.date))
    said = "said | trim" if chat.trim else "said"
    return [*found, f"{{%- if said is not none %}}{{{{- {before} + ({said}) + {_quoted(chat.close)} }}}}{{%- endif %}}"]


def _order(chat: ChatFormat) -> list[str]:
    """Finds the first and the last question; refuses turns out of order where the family does."""
    lines = [
        "{%- set asked = namespace(first=-1, last=-1) %}",
        "{%- for turn in turns %}{%- if turn['role'] == 'user' %}{%- set asked.last = loop.index0 %}",
        "{%- if asked.first < 0 %}{%- set asked.first = loop.index0 %}{%- endif %}{%- endif %}{%- endfor %}",
    ]
    if chat.alternate:
        lines += [
            "{%- for turn in turns %}{%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}",
            "{{- raise_exception('user and assistant must take turns, beginning with the user') }}",
            "{%- endif %}{%- endfor %}",
        ]
    return lines


def _content(chat: ChatFormat) -> list[str]:
    """Sets ``content``: what a turn says, with the system's text and without thinking where the family has it so."""
    lines = [f"{{%- set content = turn['content']{' | trim' if chat.trim else ''} %}}"]
    if chat.system_place.endswith("question"):
        place = "first" if chat.system_place == "first question" else "last"
        lines.append(
            f"{{%- if loop.index0 == asked.{place} and said is not none %}}"
            "{%- set content = said + '\\n\\n' + content %}{%- endif %}"
        )
    opened, closed = _quoted(chat.think_open), _quoted(chat.think_close)
    if chat.thinking == "cut":
        lines += [
            f"{{%- if turn['role'] == 'assistant' and {closed} in content %}}",
            f"{{%- if not loop.last %}}{{%- set content = content.split({closed})[-1] %}}",
            f"{{%- elif not content.startswith({opened}) %}}",
            f"{{%- set content = {_quoted(chat.opening)} + content %}}{{%- endif %}}{{%- endif %}}",
        ]
    if chat.thinking == "framed":
        lines += [
            "{%- if turn['role'] == 'assistant' %}{%- set thought = '' %}",
            f"{{%- if {closed} in content %}}",
            f"{{%- set thought = content.split({closed})[0].rstrip('\\n').split({opened})[-1].strip('\\n') %}}",
            f"{{%- set content = content.split({closed})[-1].lstrip('\\n') %}}{{%- endif %}}",
            "{%- if asked.last >= 0 and loop.index0 > asked.last and (loop.last or thought) %}",
            f"{{%- set block = {opened} + '\\n' + thought + '\\n' + {closed} + '\\n\\n' %}}",
            "{%- set content = block + content.lstrip('\\n') %}{%- endif %}{%- endif %}",
        ]
    return lines


def _turn(chat: ChatFormat) -> list[str]:
    """Writes a turn around its ``content``."""
    after = _quoted(chat.after)
    return [
        f"{{%- if turn['role'] == 'assistant' %}}{{{{- {_quoted(chat.assistant)} + content + {_quoted(chat.end)} }}}}",
        f"{{{{- {after} }}}}" if chat.after_last else f"{{%- if not loop.last %}}{{{{- {after} }}}}{{%- endif %}}",
        f"{{%- elif turn['role'] == 'user' %}}{{{{- {_quoted(chat.user)} + content + {_quoted(chat.close)} }}}}",
        f"{{%- else %}}{{{{- {_quoted(chat.system)} + content + {_quoted(chat.close)} }}}}{{%- endif %}}",
    ]
