import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.accuracy import answered, lenient, mentioned, strict

TAGGED = "<think>3+8=1,1-5=6</think><answer>{}</answer>"


@pytest.mark.parametrize(
    ("completion", "answer", "strictly", "leniently"),
    [
        (TAGGED.format("6"), "6", 1.0, 1.0),
        (TAGGED.format(" 6\n"), "6 ", 1.0, 1.0),
        (TAGGED.format("7"), "6", 0.0, 0.0),
        (TAGGED.format("G"), "6", 0.0, 0.0),
        (TAGGED.format("\uff16"), "6", 0.0, 0.0),
        (TAGGED.format("\u0666"), "6", 0.0, 0.0),
        (TAGGED.format("6.0"), "6", 0.0, 1.0),
        (TAGGED.format("2,000"), "2000", 0.0, 1.0),
        ("It is 2,000.", "2000", 0.0, 1.0),
        ("The answer is 1,500", "500", 0.0, 0.0),
        (TAGGED.format("+6"), "6", 0.0, 1.0),
        (TAGGED.format("5 6"), "6", 0.0, 1.0),
        (TAGGED.format("0123456789"), "6", 0.0, 0.0),
        (TAGGED.format("yes"), "yes", 1.0, 1.0),
        (TAGGED.format("YES"), "yes", 0.0, 0.0),
        (TAGGED.format("6") + "<answer>6</answer>", "6", 0.0, 1.0),
        ("<think></think><answer>6</answer>", "6", 0.0, 1.0),
        ("=6", "6", 0.0, 1.0),
        ("=7", "6", 0.0, 0.0),
        ("", "6", 0.0, 0.0),
        ("<think>1</think><answer></answer>", "", 0.0, 0.0),
    ],
)
def test_strict_wants_form_and_answer_and_lenient_the_last_answer_only(completion, answer, strictly, leniently):
    assert strict(["p"], [completion], [answer]) == [strictly]
    assert lenient(["p"], [completion], [answer]) == [leniently]


@pytest.mark.parametrize("reward", [strict, lenient])
def test_a_completion_cut_off_scores_nothing_even_if_it_looks_complete(reward):
    completions = [TAGGED.format("6")] * 2
    assert reward(["p"] * 2, completions, ["6"] * 2, truncated=[True, False]) == [0.0, 1.0]


@pytest.mark.parametrize("reward", [strict, lenient])
def test_every_completion_is_compared_with_its_own_answer(reward):
    completions = [TAGGED.format(digit) for digit in "123"]
    assert reward(["p"] * 3, completions, ["1", "3", "3"], kind=["chains"] * 3) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("reward", [strict, lenient])
def test_a_missing_answer_is_an_error_and_not_a_free_pass(reward):
    with pytest.raises(ValueError, match="zip"):
        reward(["p"] * 2, [TAGGED.format("6")] * 2, ["6"])


def test_the_tags_are_those_of_the_chat_format():
    brackets = ChatFormat(think_open="[", think_close="]", answer_open="(", answer_close=")")
    assert strict(["p"], ["[1+1=2](2)"], ["2"], chat=brackets) == [1.0]
    assert strict(["p"], [TAGGED.format("6")], ["6"], chat=brackets) == [0.0]
    assert lenient(["p"], ["(2)"], ["2"], chat=brackets) == [1.0]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<answer>Paris</answer>", 1.0),
        ("<think>3+8=1</think><answer>Paris</answer>", 1.0),
        ("<answer> Paris </answer>", 1.0),
        ("<answer>Rome</answer>", 0.0),
        ("Paris", 0.0),
        ("<answer>Paris", 0.0),
        ("Paris</answer>", 0.0),
        ("<answer>Paris</answer>Rome", 0.0),
        ("<answer>Rome</answer><answer>Paris</answer>", 0.0),
        ("<answer>Paris</answer><answer>Paris</answer>", 0.0),
        ("so it is <answer>Paris</answer>", 0.0),
        ("<think></think><answer>Paris</answer>", 0.0),
        ("<think>1<answer>Paris</answer>", 0.0),
        ("<answer><think>1</think>Paris</answer>", 0.0),
        ("<answer>Paris</answer></answer>", 0.0),
        ("", 0.0),
    ],
)
def test_an_answer_counts_with_or_without_thinking_but_only_in_one_block_at_the_end(completion, expected):
    assert answered([""], [completion], ["Paris"]) == [expected]


def test_an_answer_that_is_a_number_counts_by_its_value():
    completions = [f"<answer>{number}</answer>" for number in ("2,000", "2000.0", "$2,000", "000", "2,000 m")]
    assert answered([""] * 5, completions, ["2000"] * 5) == [1, 1, 1, 0, 0]


def test_an_answer_that_was_cut_off_is_not_right():
    assert answered([""], ["<answer>Paris</answer>"], ["Paris"], truncated=[True]) == [0.0]


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("The capital of France is Paris.", True),
        ("Paris", True),
        ("<think>Rome?</think>\nIt is Paris, of course.", True),
        ("Rome. Paris is nice.\nSo it is Rome.", False),
        ("Parisian life", False),
        ("in paris", False),
        ("", False),
    ],
)
def test_a_name_is_right_where_the_last_line_holds_it_as_a_word(reply, right):
    assert mentioned([""], [reply], ["Paris"]) == [float(right)]
    assert mentioned([""], [reply], ["Paris"], truncated=[True]) == [0.0]


def test_a_name_of_several_words_and_signs_is_taken_as_it_is_written():
    assert mentioned([""] * 2, ["It is St. John's!", "It is St Johns"], ["St. John's"] * 2) == [1.0, 0.0]
