import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.labels import Label, named_label
from reasoning.rewards.reward import reader_of
from reasoning.tasks.problems import Problem

LABELS = ["positive", "negative", "very positive", "C++"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("positive", "positive"),
        (" Positive.\n", "positive"),
        ("The review is NEGATIVE!", "negative"),
        ("very positive", "very positive"),
        ("very positive, not positive", None),
        ("positive or negative", None),
        ("positive, yes, positive", "positive"),
        ("positively", None),
        ("nonnegative", None),
        ("C++", "C++"),
        ("it is c++.", "C++"),
        ("c", None),
        ("", None),
    ],
)
def test_a_label_is_named_as_whole_words_and_alone(text, named):
    assert named_label(text, LABELS) == named


def test_a_reply_is_right_where_its_answer_names_the_right_label_in_any_format():
    plain = ChatFormat(answer_open="", answer_close="")
    replies = ["<think>positive?</think><answer>negative</answer>", "<answer>positive</answer>", "negative", "neither"]
    given = {"prompts": ["p"] * 4, "completions": replies, "answer": ["negative"] * 4, "labels": [LABELS] * 4}
    assert Label()(**given) == [1.0, 0.0, 1.0, 0.0]
    assert Label()(**given, chat=plain, truncated=[False, False, True, False]) == [1.0, 0.0, 0.0, 0.0]


def test_votes_count_labels_however_they_are_spelled():
    problem = Problem("q", "negative", "k", {"labels": LABELS})
    read = reader_of((Label(),), problem)
    assert read is not None
    replies = ("<answer>Negative.</answer>", "It is negative", "positive negative")
    assert [read(text, "negative", ChatFormat()) for text in replies] == ["negative", "negative", None]


@pytest.mark.parametrize("columns", [{}, {"labels": "negative"}, {"labels": ["positive"]}, {"labels": None}])
def test_a_problem_without_its_labels_is_refused(columns):
    with pytest.raises(InputError, match=r"the reward label can't judge the problem 'q' \(k\): its column 'labels' is"):
        Label().check([Problem("q", "negative", "k", columns)])
    Label().check([Problem("q", "negative", "k", {"labels": LABELS})])
