"""Prompt styles: what the model reads in each."""

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat import ChatFormat
from reasoning.generation.prompts import PromptStyle, direct, prompt_text, thinking

CHAT = ChatFormat()
ASKED = "<|user|>2+2?<|assistant|>"


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (PromptStyle(), ASKED),
        (PromptStyle("cot", instruction=" Think step by step."), "<|user|>2+2? Think step by step.<|assistant|>"),
        (PromptStyle("begun", opening="Let me see:"), ASKED + "Let me see:"),
        (PromptStyle("both", "!", "<think>"), "<|user|>2+2?!<|assistant|><think>"),
        (thinking(CHAT), ASKED + "<think>"),
        (direct(CHAT), ASKED + "<answer>"),
        (direct(ChatFormat(answer_open="[")), ASKED + "["),
    ],
)
def test_the_instruction_follows_the_question_and_the_opening_begins_the_reply(style, text):
    assert prompt_text(style, CHAT if style.opening != "[" else ChatFormat(answer_open="["), "2+2?") == text


def test_a_style_without_a_name_is_refused():
    with pytest.raises(InputError, match="a prompt style has no name"):
        PromptStyle("")
