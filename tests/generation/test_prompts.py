"""Prompt styles: what the model reads in each."""

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import DEEPSEEK_R1, QWEN_3_DIRECT
from reasoning.generation.prompts import PromptStyle, direct, prompt_text, reply_opening, thinking

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


@pytest.mark.parametrize(
    ("style", "opening"),
    [
        (PromptStyle, "<think>\n"),
        (lambda: thinking(DEEPSEEK_R1), "<think>\n"),
        (lambda: direct(DEEPSEEK_R1), "<think>\n\n</think>\n\n"),
        (lambda: PromptStyle("begun", opening="Well"), "Well"),
    ],
)
def test_a_styles_opening_stands_in_place_of_the_formats_own(style, opening):
    asked = "<｜begin▁of▁sentence｜><｜User｜>2+2?<｜Assistant｜>"
    assert prompt_text(style(), DEEPSEEK_R1, "2+2?") == asked + opening
    assert reply_opening(style(), DEEPSEEK_R1) == opening


def test_a_model_that_may_answer_at_once_is_made_to_think_by_the_plain_tag():
    assert thinking(QWEN_3_DIRECT).opening == "<think>"


def test_a_style_without_a_name_is_refused():
    with pytest.raises(InputError, match="a prompt style has no name"):
        PromptStyle("")
