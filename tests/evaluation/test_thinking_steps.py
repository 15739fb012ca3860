import random
import re

import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import QWEN_3
from reasoning.evaluation.thinking_steps import (
    Thought,
    ended_before,
    numbers_changed,
    perturbed,
    removed,
    thinking_reply,
    true_thinking,
)

CHAIN = Thought(("3+8=1", "1-5=6", "6+2=8"), (",", ","))
LINES = r"(?:\s*\n\s*|(?<=[.!?;])\s+)+"


def draw() -> random.Random:
    return random.Random(0)


@pytest.mark.parametrize(
    ("reply", "separator", "steps", "answer"),
    [
        ("<think>3+8=1,1-5=6</think><answer>6</answer>", ",", ("3+8=1", "1-5=6"), "6</answer>"),
        ("<think>It is 3.5. So 7!\n\nYes</think>7", LINES, ("It is 3.5.", "So 7!", "Yes"), "7"),
        ("<think>a</think>b</think>c", ",", ("a</think>b",), "c"),
        ("<think>,a,,</think> so <answer>c", ",", (",a", ","), "c"),
    ],
)
def test_a_reply_falls_into_steps_and_comes_together_again(reply, separator, steps, answer):
    found = thinking_reply(reply, ChatFormat(), separator)
    assert found is not None and found.thought.steps == steps and found.answer == answer
    assert found.with_thought(found.thought) + found.answer == reply


@pytest.mark.parametrize("reply", ["<answer>6</answer>", "<think>3+8", "<think> </think>6", "<think>3</think>\n", "6"])
def test_a_reply_without_a_thought_or_an_answer_has_no_steps(reply):
    assert thinking_reply(reply, QWEN_3, ",") is None


@pytest.mark.parametrize(("number", "text"), [(0, "1-5=6,6+2=8"), (1, "3+8=1,6+2=8"), (2, "3+8=1,1-5=6")])
def test_removing_a_step_takes_one_joint_with_it(number, text):
    [(whole, without)] = removed(CHAIN, number, draw())
    assert whole == CHAIN and without.text == text
    assert Thought(("a",), ()).without(0).text == ""


def test_an_early_answer_comes_after_the_steps_before():
    cut = [ended_before(CHAIN, number, draw())[0][1].text for number in range(3)]
    assert cut == ["", "3+8=1", "3+8=1,1-5=6"]


def test_numbers_move_by_one_to_three_and_keep_their_length_and_all_else_stays():
    for seed in range(50):
        [(whole, changed)] = numbers_changed(CHAIN, 1, random.Random(seed))
        assert whole == CHAIN and changed.steps[::2] == CHAIN.steps[::2] and changed.joints == CHAIN.joints
        numbers = [list(map(int, re.findall(r"\d", each.steps[1]))) for each in (whole, changed)]
        assert all((one - other) % 10 in (1, 2, 3, 7, 8, 9) for one, other in zip(*numbers, strict=True))
        assert re.sub(r"\d", "0", changed.text) == re.sub(r"\d", "0", whole.text)
    long = perturbed(Thought(("so 1,234.50 is it",), ()), 0, draw()).text
    assert re.fullmatch(r"so \d,23\d\.5\d is it", long)


def test_a_step_without_a_number_is_left_out_or_kept():
    thought = Thought(("Hm.", "It is 3."), (" ",))
    assert perturbed(thought, 0, draw()).text == "It is 3." and perturbed(thought, 0, draw(), keep=True) == thought


def test_the_true_thinking_score_compares_a_last_step_after_right_and_after_perturbed_steps():
    (one, two), (three, four) = true_thinking(CHAIN, 1, draw())
    assert one.text == "3+8=1,1-5=6" and two.steps[0] == one.steps[0] and two.steps[1] != one.steps[1]
    assert three.steps[1] == one.steps[1] and three.steps[0] == four.steps[0] != one.steps[0]
    assert four.steps[1] == two.steps[1]  # one and the same mistake
