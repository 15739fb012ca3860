import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import QWEN_3
from reasoning.rewards.boxes import final_answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{41} no, \boxed{42}", "42"),
        (r"\boxed{41} no, \boxed{42", None),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{}", None),
        ("<answer>42</answer>", "42"),
        ("<answer> 42 </answer>", "42"),
        (r"<answer>so \boxed{42}.</answer>", "42"),
        ("<answer>41</answer><answer>42</answer>", "42"),
        ("<answer>41</answer><answer>42", None),
        (r"<answer>41</answer> or \boxed{42}", "42"),
        (r"\boxed{41} <answer>42</answer>", "42"),
        ("<answer>4}2</answer>", None),
        ("<answer></answer>", None),
        (r"<think>\boxed{41}</think> <answer>42</answer>", "42"),
        (r"<think>\boxed{41}</think>", None),
        (r"<think>it is \boxed{42}", None),
        ("42", None),
        ("", None),
    ],
)
def test_the_last_box_or_answer_block_after_the_thinking_is_the_answer(reply, answer):
    assert final_answer(reply, ChatFormat()) == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [("<think>a</think>\n42", "42"), (r"<think>a</think> so \boxed{42}!", "42"), ("<think>a", None)],
)
def test_without_answer_tags_what_follows_the_thinking_is_the_answer(reply, answer):
    assert final_answer(reply, QWEN_3) == answer
