from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.format import tagged

GOOD = "<think>3+8=1</think><answer>wrong but in form</answer>"


def test_the_form_alone_is_rewarded_whatever_the_answer():
    assert tagged(["p"] * 4, [GOOD, "=6", "<answer>6</answer>", GOOD + "!"]) == [1.0, 0.0, 0.0, 0.0]


def test_a_completion_cut_off_never_has_the_form():
    assert tagged(["p"] * 2, [GOOD, GOOD], truncated=[True, False], answer=["6", "6"]) == [0.0, 1.0]


def test_the_tags_are_those_of_the_chat_format():
    brackets = ChatFormat(think_open="[", think_close="]", answer_open="(", answer_close=")")
    assert tagged(["p"] * 2, ["[1](2)", GOOD], chat=brackets) == [1.0, 0.0]
