import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.data.chat import ChatFormat
from reasoning.rewards.text import Reply, cut_off, last_number, parse, says

CHAT = ChatFormat()
GOOD = "<think>3+8=1,1-5=6</think><answer>6</answer>"


@pytest.mark.parametrize(
    ("completion", "thinking", "answer"),
    [
        (GOOD, "3+8=1,1-5=6", "6"),
        ("<think>\nfirst\nthen\n</think>\n<answer> 42 </answer>", "first\nthen", "42"),
        ("<think>a < b > c</think> <answer>x y</answer>", "a < b > c", "x y"),
        ("<think>größer</think><answer>ja</answer>", "größer", "ja"),
    ],
)
def test_the_form_gives_its_two_parts(completion, thinking, answer):
    assert parse(completion, CHAT) == Reply(thinking, answer)


MALFORMED = {
    "empty": "",
    "no tags": "6",
    "no thinking": "<answer>6</answer>",
    "no answer": "<think>3+8=1</think>",
    "empty thinking": "<think></think><answer>6</answer>",
    "blank thinking": "<think> \n\t</think><answer>6</answer>",
    "invisible thinking": "<think>\u200b\u2060</think><answer>6</answer>",
    "dots for thinking": "<think>......</think><answer>6</answer>",
    "empty answer": "<think>1</think><answer></answer>",
    "blank answer": "<think>1</think><answer>  </answer>",
    "answer first": "<answer>6</answer><think>3+8=1</think>",
    "two answers": f"{GOOD}<answer>7</answer>",
    "two answers in one": "<think>1</think><answer>6<answer>7</answer></answer>",
    "answer split": "<think>1</think><answer>4</answer><answer>2</answer>",
    "whole form twice": GOOD + GOOD,
    "answer tags in thinking": "<think>1<answer>5</answer></think><answer>6</answer>",
    "think tag in thinking": "<think>1<think>2</think><answer>6</answer>",
    "thinking inside the answer": "<answer><think>1</think>6</answer>",
    "blocks overlap": "<think>1<answer>2</think>6</answer>",
    "closed before opened": "</think>1<think><answer>6</answer>",
    "text before": f"so {GOOD}",
    "space before": f" {GOOD}",
    "text between": "<think>1</think>so<answer>6</answer>",
    "text after": f"{GOOD}.",
    "newline after": f"{GOOD}\n",
    "answer not closed": "<think>1</think><answer>6",
    "thinking not closed": "<think>1<answer>6</answer>",
    "end inside the text": "<think>1<|end|></think><answer>6</answer>",
    "a turn of the user's": "<think>1<|user|>2+2?<|assistant|></think><answer>6</answer>",
    "other letters in a tag": "<Think>1</Think><answer>6</answer>",
    "space in a tag": "< think>1</think><answer>6</answer>",
}


@pytest.mark.parametrize("completion", MALFORMED.values(), ids=MALFORMED.keys())
def test_anything_else_is_not_the_form(completion):
    assert parse(completion, CHAT) is None


@given(st.text(st.sampled_from("a1 \n=+<>/"), max_size=20), st.text(st.sampled_from("b2 \n-<>/"), max_size=20))
def test_parts_without_tags_come_back_as_written(thinking, answer):
    reply = parse(f"<think>{thinking}</think><answer>{answer}</answer>", CHAT)
    legible = bool({"a", "1"} & set(thinking)) and answer.strip() != ""
    assert reply == (Reply(thinking.strip(), answer.strip()) if legible else None)


def test_symbols_that_a_format_leaves_empty_do_not_matter():
    bare = ChatFormat(begin="", system="", user="U:", assistant="A:", end="</s>")
    assert parse(GOOD, bare) == Reply("3+8=1,1-5=6", "6")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("none", None),
        ("=6", "6"),
        ("3+8=1,1-5=6=6", "6"),
        ("1-5", "5"),
        ("it is -5.", "-5"),
        ("x=-0.25 m", "-0.25"),
        ("(3+2)-5", "5"),
        ("1.2.3", "3"),
        ("007", "007"),
        ("B6", "6"),
        ("6 \u0667", "6"),
        ("\uff16", None),
        ("\u00b2", None),
        ("twelve", None),
    ],
)
def test_the_last_number_is_found(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("completion", "answer", "right"),
    [
        ("=6", "6", True),
        ("=6", " 6 ", True),
        ("3+8=1,1-5=6=6", "6", True),
        ("<answer>6</answer>", "6", True),
        (GOOD, "6", True),
        ("<think>1</think><answer>4</answer><answer>2</answer>", "2", True),
        ("<answer>4</answer><answer>2</answer>", "42", False),
        ("4<answer>2", "42", False),
        ("6 or 7", "6", False),
        ("G", "6", False),
        ("=6", "06", False),
        ("6.0", "6", False),
        ("", "6", False),
        ("", "", False),
        ("  ", " ", False),
        ("6", "", False),
        ("I think\nyes", "yes", True),
        ("I think yes", "yes", False),
        ("<answer>a b</answer>", "a b", True),
        ("<think>it is 6</think><answer>G</answer>", "6", False),
        ("<think>it is 6</think><answer></answer>", "6", False),
        ("yes\nno", "yes", False),
    ],
)
def test_a_reply_says_what_it_ends_on(completion, answer, right):
    assert says(completion, answer, CHAT) is right


@pytest.mark.parametrize(
    "text", ["1" * 10**6, "<think>" * 10**5, "1." * 10**6, "-" * 10**6, "</think><answer>" * 10**5]
)
def test_huge_replies_take_no_time(text):
    start = time.process_time()
    assert parse(text, CHAT) is None
    assert not says(text, "6", CHAT)
    assert parse(f"<think>{'1' * 10**6}</think><answer>6</answer>", CHAT) is not None
    assert time.process_time() - start < 2


def test_without_a_column_nothing_was_cut_off():
    assert list(cut_off(["a", "b"], None)) == [False, False]
    assert list(cut_off(["a", "b"], [True, False])) == [True, False]
