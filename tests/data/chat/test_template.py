"""The templates that we write, rendered as transformers renders them, against the formats themselves."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat import formats as chat_formats
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.template import chat_template
from reasoning.data.chat.tools import SingleCalls, TaggedTools
from reasoning.data.messages import read_turns

jinja2 = pytest.importorskip("jinja2")
sandbox = pytest.importorskip("jinja2.sandbox")

GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("chats.json").read_text())
FORMATS = {name: chat for name, chat in vars(chat_formats).items() if isinstance(chat, ChatFormat)}
ODD = ChatFormat(user="it's {{ x }}\n", end="\\n", close='"', start="🙂", preface="é", opening="{% if %}-%}")
FORMATS |= {"own": ChatFormat(), "odd": ODD, "apart": ChatFormat(after="+", between="-")}
FORMATS |= {
    name: ChatFormat(tool="<|tool|>", tools=tools)
    for name, tools in (("tags", TaggedTools()), ("one", SingleCalls("!")))
}
FORMATS |= {f"{name}, silent system": replace(FORMATS[name], default_system="Hm.") for name in ("GEMMA", "DEEPSEEK_V3")}
FORMATS |= {
    "MISTRAL_TEKKEN, ids": FORMATS["MISTRAL_TEKKEN"],
    "DEEPSEEK_R1, nothing offered": FORMATS["DEEPSEEK_R1"],
}


def refuse(message):
    raise jinja2.TemplateError(message)


def tojson(value, indent=None):
    """As transformers has it."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


@lru_cache
def compiled(chat):
    environment = sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = tojson
    return environment.from_string(chat_template(chat))


def rendered(chat, messages, prompt, **given):
    return compiled(chat).render(messages=messages, add_generation_prompt=prompt, **given)


@pytest.mark.parametrize("title", GOLDEN["conversations"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_template_writes_what_the_format_writes(name, title):
    chat, messages = FORMATS[name], GOLDEN["conversations"][title]
    prompt = messages[-1]["role"] != "assistant"
    try:
        text = chat.conversation(messages) + chat.opening if prompt else chat.document(messages).text()
    except InputError:
        with pytest.raises(jinja2.TemplateError, match="must take turns"):
            rendered(chat, messages, prompt)
    else:
        assert rendered(chat, messages, prompt) == text


@pytest.mark.parametrize("title", GOLDEN["tool_conversations"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_template_writes_tools_as_the_format_does_or_refuses_them(name, title):
    chat, (messages, schemas) = FORMATS[name], GOLDEN["tool_conversations"][title].values()
    messages = GOLDEN["tool_conversations_with_ids"][title] if name == "MISTRAL_TEKKEN, ids" else messages
    schemas = [] if name == "DEEPSEEK_R1, nothing offered" else schemas
    prompt, turns = messages[-1]["role"] != "assistant", read_turns(messages, chat, "")
    try:
        opening = "" if chat.resume is not None and messages[-1]["role"] == "tool" else chat.opening
        text = chat.conversation_of(turns, schemas) + opening if prompt else chat.document_of(turns, schemas).text()
    except InputError as error:
        refused = str(error).partition(";")[0].partition(", neither")[0].removesuffix(".")
        with pytest.raises(jinja2.TemplateError, match=refused):
            rendered(chat, messages, prompt, tools=schemas)
    else:
        assert rendered(chat, messages, prompt, tools=schemas) == text


def test_the_date_and_the_systems_text_are_the_formats():
    chat = replace(chat_formats.LLAMA_3_1, date="01 Jan 2026", default_system="Be kind.")
    question = [{"role": "user", "content": "1 + 1?"}]
    assert "Today Date: 01 Jan 2026\n\nBe kind.<|eot_id|>" in rendered(chat, question, True)
