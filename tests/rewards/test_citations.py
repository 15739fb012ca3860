import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.accuracy import answered, lenient
from reasoning.rewards.citations import (
    Grounded,
    Within,
    WithoutCitations,
    citations,
    cites,
    without_citations,
)
from reasoning.rewards.math import Math
from reasoning.rewards.numbers import number
from reasoning.rewards.reward import reader_of, reward_name
from reasoning.tasks.problems import Problem

CHAT = ChatFormat()


def give(reward, *completions: str, answer: str = "red", **columns):
    each = {name: [value] * len(completions) for name, value in {"answer": answer, **columns}.items()}
    return reward(
        prompts=["?"] * len(completions), completions=list(completions), kind=["k"] * len(completions), **each
    )


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ("red[2]", (2,)),
        ("red [2] [3][2]", (2, 3)),
        ("<think>[1] says so</think><answer>red[2]</answer>", (2,)),
        ("<answer>x[1]</answer><answer>red</answer>", ()),
        ("red 2", ()),
        ("red[ 2 ]", ()),
        ("red[two]", ()),
        ("red[-2]", ()),
        ("red[99999]", ()),
    ],
)
def test_only_numbers_in_brackets_of_the_answer_are_citations(reply, numbers):
    assert citations(reply, CHAT) == numbers


def test_a_reply_cites_the_passages_with_the_answer_and_no_other():
    replies = ("red[2]", "red[3]", "red[2][3]", "red[2][1]", "red", "[2]")
    assert give(cites, *replies, holds_answer=[2, 3]) == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert give(cites, "red[2]", "red", holds_answer=[]) == [0.0, 1.0]
    assert give(cites, "red[2]", holds_answer=[2], truncated=True) == [0.0]


def test_recall_counts_the_best_k_and_not_the_reply():
    within = Within(4)
    assert reward_name(within) == "recall@4"
    assert within(prompts=[""] * 4, completions=["", "x", "", ""], rank=[1, 4, 5, None]) == [1.0, 1.0, 0.0, 0.0]


def test_an_answer_is_right_with_its_citation_by_any_measure():
    right = WithoutCitations(answered)
    assert reward_name(right) == "answered"
    assert give(right, "<answer>red [2]</answer>", "<answer>red</answer>", "<answer>blue[2]</answer>") == [1, 1, 0]
    assert give(WithoutCitations(lenient), "It is\nred[1][4]") == [1]
    # The citation would be the last number.
    assert give(number, "It is 12 [3]", answer="12") == [0]
    assert give(WithoutCitations(number), "It is 12 [3]", answer="12") == [1]


def test_votes_read_answers_without_their_citations():
    problem = Problem("?", "red", "k")
    read = reader_of((WithoutCitations(lenient),), problem)
    assert read is not None and read("red[2]", "red", CHAT) == "red" == read("red [3]", "red", CHAT)
    mathematical = reader_of((WithoutCitations(Math()),), Problem("?", "1/2", "k"))
    assert mathematical is not None
    assert mathematical(r"\boxed{0.5} [2]", "1/2", CHAT) == mathematical(r"\boxed{\frac12}", "1/2", CHAT)


def test_grounded_is_right_and_cited():
    replies = ("<answer>red[2]</answer>", "<answer>red[1]</answer>", "<answer>blue[2]</answer>", "<answer>red</answer>")
    assert give(Grounded(answered), *replies, holds_answer=[2]) == [1, 0, 0, 0]
    assert give(Grounded(answered), *replies, holds_answer=[]) == [0, 0, 0, 1]


def test_problems_without_passages_or_that_the_inner_reward_refuses_are_named():
    bare, seen = Problem("Who?", "red", "facts"), Problem("Who?", "red", "facts", {"holds_answer": [1], "rank": 1})
    for reward, column in ((cites, "holds_answer"), (Grounded(answered), "holds_answer"), (Within(1), "rank")):
        with pytest.raises(
            InputError, match=rf"can't judge the problem 'Who\?' \(facts\): it has no column '{column}'"
        ):
            reward.check([seen, bare])
    for reward in (WithoutCitations(number), Grounded(number)):
        with pytest.raises(InputError, match="the reward number can't judge"):
            reward.check([seen])


def test_remarks_are_the_inner_rewards():
    class Remarking:
        def __call__(self, prompts, completions, **columns):
            return [1.0] * len(completions)

        def remarks(self, problems):
            return [f"{len(problems)} problems"]

    assert WithoutCitations(Remarking()).remarks([Problem("?", "a", "k")]) == ["1 problems"]
    assert WithoutCitations(answered).remarks([]) == ()


@pytest.mark.parametrize(("text", "bare"), [("a [1], b[2].", "a, b."), ("x[0]", "x"), ("[a]", "[a]")])
def test_citations_go_with_the_space_before_them(text, bare):
    assert without_citations(text) == bare
