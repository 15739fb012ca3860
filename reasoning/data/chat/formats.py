"""The chat formats of pretrained families, equal to the templates that their makers publish.

An experiment names one as a setting, ``zero.chat = @data.chat.formats.QWEN_2_5``, or as a part of which it changes
fields, ``talk = @data.chat.formats.LLAMA_3_1`` and ``talk.date = '01 Jan 2026'``. The command line takes the names in
small letters, too. The tests compare each with its template, rendered; where one differs on purpose, it says so here.
Qwen's, Llama 3.1's, DeepSeek's and Mistral's write tools, too; the others refuse them.
"""

import difflib
from dataclasses import replace

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.thinking import CutEarlier, Framed
from reasoning.data.chat.tools import FencedCalls, IdentifiedCalls, SingleCalls, TaggedTools
from reasoning.data.chat.turns import SystemAtStart, SystemInQuestion, SystemTurn

SMOLLM_2 = ChatFormat(
    begin="",
    system="<|im_start|>system\n",
    user="<|im_start|>user\n",
    assistant="<|im_start|>assistant\n",
    end="<|im_end|>",
    close="<|im_end|>\n",
    after="\n",
    text_end="<|endoftext|>",
    other_ends=("<|endoftext|>",),
    marks=("<|im_start|>", "<|im_end|>"),
    default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
)
"""SmolLM2 (arXiv 2502.02737)."""

QWEN_2_5 = replace(
    SMOLLM_2,
    default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    tool="<|im_start|>user\n",
    tools=TaggedTools(),
)
"""Qwen2.5 (arXiv 2412.15115)."""

QWEN_3 = replace(QWEN_2_5, default_system=None, answer_open="", answer_close="", thinking=Framed())
"""Qwen3 that thinks (arXiv 2505.09388): earlier turns lose their thinking, the last reply always has a block of it."""

QWEN_3_DIRECT = replace(QWEN_3, opening="<think>\n\n</think>\n\n")
"""Qwen3 that answers at once: the prompt ends in an empty block of thinking."""

LLAMA_3 = ChatFormat(
    begin="<|begin_of_text|>",
    start="<|begin_of_text|>",
    system="<|start_header_id|>system<|end_header_id|>\n\n",
    user="<|start_header_id|>user<|end_header_id|>\n\n",
    assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
    end="<|eot_id|>",
    close="<|eot_id|>",
    text_end="<|end_of_text|>",
    other_ends=("<|end_of_text|>", "<|eom_id|>"),
    marks=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    turns=SystemTurn(trim=True),
)
"""Llama 3 (arXiv 2407.21783) as first released, without a date."""

LLAMA_3_1 = replace(
    LLAMA_3,
    preface="Cutting Knowledge Date: December 2023\nToday Date: {date}\n\n",
    date="26 Jul 2024",
    default_system="",
    tool="<|start_header_id|>ipython<|end_header_id|>\n\n",
    tools=SingleCalls(),
)
"""Llama 3.1, 3.2 and 3.3. The date is the templates' default; 3.2's takes the clock's instead where it is told one."""

DEEPSEEK_V3 = ChatFormat(
    begin="<｜begin▁of▁sentence｜>",
    start="<｜begin▁of▁sentence｜>",
    system="",
    user="<｜User｜>",
    assistant="<｜Assistant｜>",
    end="<｜end▁of▁sentence｜>",
    marks=("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    turns=SystemAtStart(),
    thinking=CutEarlier(),
    tool_close="",
    resume="",
    tools=FencedCalls(),
)
"""DeepSeek-V3 (arXiv 2412.19437) as of March 2025: earlier turns lose their thinking, which the first release kept.

The template cuts the thinking of the last reply too; here it is kept, to be learnt.
"""

DEEPSEEK_R1 = replace(DEEPSEEK_V3, answer_open="", answer_close="", opening="<think>\n")
"""DeepSeek-R1 and its distilled models (arXiv 2501.12948): the prompt opens the thinking, earlier turns lose theirs.

Of several system messages all are written, as in R1's template; that of the distilled models writes the last only.
"""

GEMMA = ChatFormat(
    begin="<bos>",
    start="<bos>",
    system="",
    user="<start_of_turn>user\n",
    assistant="<start_of_turn>model\n",
    end="<end_of_turn>",
    close="<end_of_turn>\n",
    after="\n",
    text_end="<eos>",
    other_ends=("<eos>",),
    marks=("<bos>", "<start_of_turn>", "<end_of_turn>"),
    turns=SystemInQuestion(trim=True),
)
"""Gemma 1, 2 and 3 (arXiv 2403.08295, 2408.00118, 2503.19786): the first question begins with the system's text.

The template of 1 and 2 refuses a system message; here it is written as Gemma 3 does.
"""

MISTRAL_TEKKEN = ChatFormat(
    begin="<s>",
    start="<s>",
    system="",
    user="[INST]",
    assistant="",
    end="</s>",
    close="[/INST]",
    marks=("<s>", "[INST]", "[/INST]", "</s>"),
    turns=SystemInQuestion(last=True),
    tool_close="",
    tools=IdentifiedCalls(),
)
"""Mistral NeMo and others with the third version of the instruct format and the Tekken tokenizer.

The template forgets the system message where a conversation ends in a reply; here the last question keeps it.
"""

OLMO_2 = ChatFormat(
    begin="<|endoftext|>",
    start="<|endoftext|>",
    system="<|system|>\n",
    user="<|user|>\n",
    assistant="<|assistant|>\n",
    end="<|endoftext|>",
    close="\n",
    between="\n",
    marks=("<|endoftext|>",),
)
"""OLMo 2 (arXiv 2501.00656), in the format of Tulu 3; the names of the roles are text and no single ids."""


def formats() -> dict[str, ChatFormat]:
    """All formats above by their names in small letters."""
    return {name.lower(): value for name, value in globals().items() if isinstance(value, ChatFormat)}


def format_named(name: str) -> ChatFormat:
    """The format of a name such as ``smollm_2``. Raises InputError that offers the nearest for another."""
    known = formats()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"there is no chat format {name!r}; {hint}")
    return known[name.lower()]
