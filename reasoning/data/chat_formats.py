"""The chat formats of pretrained families, equal to the templates that their makers publish (see the tests).

An experiment names one as a setting: ``zero.chat = @data.chat_formats.QWEN_2_5``. Tools are left out.
"""

from dataclasses import replace

from reasoning.data.chat import ChatFormat

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

QWEN_2_5 = replace(SMOLLM_2, default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
