"""Which program a reply holds."""

import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.programs import continuation_of, program_of

FENCED = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        (f"<think>a</think><answer>\n{FENCED}\n</answer>", "x = 1\n"),
        (f"<think>{FENCED.replace('1', '9')}</think>\n{FENCED}", "x = 1\n"),  # the thinking's is not the answer
        ("<think>a</think><answer>x = 1\n</answer>", "x = 1"),
        ("<answer>```py\nx = 0\n```\nno:\n```\nx = 1\n```</answer>", "x = 1\n"),
        ("<answer>```python\nx = 1\n```\n```cpp\nint x;\n```</answer>", "x = 1\n"),
        (f"<think>never closed <answer>{FENCED}</answer>", None),
        (f"<answer>{FENCED}", None),
        ("<answer>```python\nx = 1\n</answer>", None),
        ("<answer> </answer>", None),
        ("x = 1", None),
    ],
)
def test_the_program_of_a_reply_is_its_answers_last_block_or_all_of_it(reply: str, program: str | None):
    assert program_of(reply, "python", ChatFormat()) == program


def test_a_format_without_tags_for_answers_has_what_follows_the_thinking():
    plain = ChatFormat(answer_open="", answer_close="")
    assert program_of("<think>a</think>\nx = 1\n", "python", plain) == "x = 1"
    assert program_of("```cpp\nint x;\n```", "cpp", plain) == "int x;\n"


def test_a_continued_function_ends_where_another_thing_begins():
    assert continuation_of("    return 1\n\ndef g():", "python", cut=True) == "    return 1\n"
    assert continuation_of("    return 1", "python", cut=False) == "    return 1"
    assert continuation_of("    return 1", "python", cut=True) is None
    assert continuation_of(f"Here:\n{FENCED}\nprint", "python", cut=False) == "x = 1\n"
