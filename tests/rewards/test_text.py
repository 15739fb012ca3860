import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.text import (
    ParsedReply,
    answer_part,
    concluded,
    cut_off,
    extract_answer,
    matches_answer,
    parse_reply,
    read_answer,
    tagged_answer,
)

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
    assert parse_reply(completion, CHAT) == ParsedReply(thinking, answer)


BARE = ChatFormat(answer_open="", answer_close="")


@pytest.mark.parametrize(
    ("completion", "thinking", "answer"),
    [
        ("<think>\n3+8=1\n</think>\n\nIt is 6.", "3+8=1", "It is 6."),
        ("<think>1</think><answer>6</answer>", "1", "<answer>6</answer>"),
    ],
)
def test_without_answer_tags_the_answer_is_what_follows_the_thinking(completion, thinking, answer):
    assert parse_reply(completion, BARE) == ParsedReply(thinking, answer)
    assert tagged_answer(completion, BARE) == answer


@pytest.mark.parametrize(
    "completion",
    [
        "6",
        "<think>1</think>",
        "<think>1</think> \n",
        "<think></think>6",
        "so <think>1</think>6",
        "<think>1</think>6</think>",
    ],
)
def test_without_answer_tags_other_forms_are_refused_too(completion):
    assert parse_reply(completion, BARE) is None


def test_without_answer_tags_the_last_number_behind_the_thinking_counts():
    assert matches_answer("<think>7 or 8</think>It is 6, I think.", "6", BARE)
    assert not matches_answer("<think>6</think>It is 7.", "6", BARE)
    assert extract_answer("<think>7 or 8</think>Seven apples: 6.", BARE) == "6" == extract_answer("It is 6", BARE)
    assert extract_answer("<think>7</think>Paris", BARE) == "Paris"
    assert tagged_answer("6", BARE) == "6" and tagged_answer("<think></think>6", BARE) is None


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
    assert parse_reply(completion, CHAT) is None


@given(st.text(st.sampled_from("a1 \n=+<>/"), max_size=20), st.text(st.sampled_from("b2 \n-<>/"), max_size=20))
def test_parts_without_tags_come_back_as_written(thinking, answer):
    reply = parse_reply(f"<think>{thinking}</think><answer>{answer}</answer>", CHAT)
    legible = bool({"a", "1"} & set(thinking)) and answer.strip() != ""
    assert reply == (ParsedReply(thinking.strip(), answer.strip()) if legible else None)


def test_symbols_that_a_format_leaves_empty_do_not_matter():
    bare = ChatFormat(begin="", system="", user="U:", assistant="A:", end="</s>")
    assert parse_reply(GOOD, bare) == ParsedReply("3+8=1,1-5=6", "6")


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
        ("=6", "06", True),  # numbers are compared by value
        ("6.0", "6", True),
        ("It is 2,000.", "2000", True),
        ("It is 2,000.", "0", False),
        ("1,500", "500", False),
        ("2000", "2,000", True),
        ("It is \u22125", "-5", True),
        ("It is \u22125", "5", False),
        ("so .5", "5", False),
        ("so .5", "0.50", True),
        ("-$3", "3", False),
        ("-$3", "-3", True),
        ("9-5", "-5", False),
        ("It is 3/4.", "0.75", False),
        ("It is 3/4.", "3/4", False),
        ("= 3/4", "3/4", True),
        ("6 apples", "$6", True),
        ("6.0", "6 apples", False),  # a text, character by character
        ("11 September", "11 October", False),
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
        ("=c", "c", True),
        ("c~ab=c,c~bd=c=c", "c", True),
        ("= New York ", "New York", True),
        ("c=d", "c", False),
        ("=c\nd", "c", False),
        ("=c=", "c", False),
        ("=cc", "c", False),
        ("<answer>=c</answer>", "c", True),
        ("=c<answer>d</answer>", "c", False),
        ("<answer>c</answer>d", "c", False),
        ("x=3", "x=3", True),
        ("y=3", "x=3", False),
        ("=", "=", True),
    ],
)
def test_a_reply_says_what_it_ends_on(completion, answer, right):
    assert matches_answer(completion, answer, CHAT) is right


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("=6", "6"),
        ("3+8=1,1-5=6=6", "6"),
        ("the answer is 6.", "6"),
        (GOOD, "6"),
        ("<answer> a b </answer>", "a b"),
        ("<answer>2+4=6</answer>", "6"),
        ("<answer>so it is\nc</answer>", "c"),
        ("<answer>4</answer><answer>2</answer>", "2"),  # both in one reply: the last counts, as in matches_answer
        ("<think>it is 6</think><answer>G</answer>", "G"),
        ("<think>it is 6</think><answer></answer>", None),  # the thinking gives no answer
        ("<think>it is 6</think><answer>", None),
        ("<answer>=</answer>", None),
        ("6<answer>Paris", "Paris"),
        ("6</answer>", "6"),
        ("c~ab=c,c~bd=c=d", "d"),
        ("Paris", "Paris"),
        ("Paris\nRome", "Rome"),
        ("", None),
        (" \n ", None),
        ("=", None),
        ("<answer>6 apples</answer>", "6"),
        ("<answer>$6</answer>", "6"),
        ("<answer>6.</answer>", "6"),
        ("<answer>It costs -$3</answer>", "It costs -$3"),
        ("<answer>Apollo 11</answer>", "Apollo 11"),
        ("<answer>3/4</answer>", "3/4"),
        ("<answer>5 6</answer>", "5 6"),
        ("So he pays $3,000.", "3,000"),
        ("<think></think>", None),
        ("\u0666", "\u0666"),  # another script's six is a word, and other than 6
    ],
)
def test_the_answer_that_a_reply_gives_is_read_without_knowing_the_right_one(completion, answer):
    assert extract_answer(completion, CHAT) == answer


@pytest.mark.parametrize(
    ("completion", "right", "answer"),
    [
        ("So he pays $3,000.", "7", "3,000"),
        ("<answer>The answer is 6.0</answer>", "7", "6.0"),
        ("<answer>5 6</answer>", "7", "6"),
        ("<answer>Paris</answer>", "7", "Paris"),  # no number: a text, which is never right
        ("<answer></answer>", "7", None),
        ("In 1990 it was\nParis", "Rome", "Paris"),
        ("<answer>Apollo 11</answer>", "Gemini 8", "Apollo 11"),
        ("a=b=c", "d", "c"),
        ("x=3", "x=2", "x=3"),  # an equation is asked for
        ("x=", "d", None),
    ],
)
def test_a_question_of_a_number_is_answered_by_one_and_any_other_by_a_text(completion, right, answer):
    assert read_answer(completion, right, CHAT) == answer


PIECES = ("<think>", "</think>", "<answer>", "</answer>", "3", "-5", "=", "a", " ", "\n", ".", "+", "1.5", "~")
PIECES += ("$", "\u2212", ",000", "%", "/")


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_a_reply_says_the_answer_that_is_read_from_it(completion):
    answer = extract_answer(completion, CHAT)
    assert answer is None or matches_answer(completion, answer, CHAT)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<answer>Paris</answer>", "Paris"),
        ("<answer> New York </answer>", "New York"),
        (GOOD, "6"),
        ("<answer>1=1</answer>", "1=1"),
    ],
)
def test_one_answer_block_at_the_end_is_an_answer_with_thinking_or_without(completion, answer):
    assert tagged_answer(completion, CHAT) == answer


ONLY_THINKING_MISSES = ("no thinking",)


@pytest.mark.parametrize(
    "completion",
    [
        *(text for name, text in MALFORMED.items() if name not in ONLY_THINKING_MISSES),
        "<answer><answer>6</answer>",
        "<answer>6</answer></answer>",
        "<answer>6</answer><answer>6</answer>",
        "<answer>6</answer>\n",
        " <answer>6</answer>",
        "<answer> </answer>",
        "<answer>6<|end|></answer>",
        "<answer><think>1</think></answer>",
        "<answer>",
        "</answer>",
    ],
)
def test_any_other_form_is_no_answer(completion):
    assert tagged_answer(completion, CHAT) is None


@pytest.mark.parametrize(
    "text", ["1" * 10**6, "1,000" * 10**5, "<think>" * 10**5, "1." * 10**6, "-$" * 10**5, "</think><answer>" * 10**5]
)
def test_huge_replies_take_no_time(text):
    start = time.process_time()
    assert parse_reply(text, CHAT) is None
    assert not matches_answer(text, "6", CHAT)
    extract_answer(text, CHAT)
    assert tagged_answer(text, CHAT) is None
    assert parse_reply(f"<think>{'1' * 10**6}</think><answer>6</answer>", CHAT) is not None
    assert time.process_time() - start < 2


def test_without_a_column_nothing_was_cut_off():
    assert list(cut_off(["a", "b"], None)) == [False, False]
    assert list(cut_off(["a", "b"], [True, False])) == [True, False]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Lima [2]", "Lima [2]"),
        ("<think>Cusco [1]</think><answer>Lima</answer>", "Lima"),
        ("<think>Cusco [1]</think>\nLima", "Lima"),
        ("<think>Cusco [1]", ""),
        ("<answer>Cusco</answer>No: <answer>Lima", "Lima"),
    ],
)
def test_what_a_reply_concludes_holds_none_of_its_thinking(text, part):
    assert concluded(text, CHAT) == part


def test_the_answer_part_follows_the_last_answer_tag_and_else_is_all_of_the_reply():
    assert answer_part("<think>3</think><answer>4</answer><answer>5", CHAT) == "5"
    assert answer_part("<think>3</think>4", CHAT) == "3 4"
