"""Votes: who wins, on ties and empty ballots too, and that order and scale of the samples don't matter."""

import math
from collections.abc import Iterable
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.generation.voting import likelihoods, majority, tally
from reasoning.rewards.accuracy import lenient
from reasoning.rewards.numbers import number
from reasoning.rewards.reward import Reward
from reasoning.rewards.text import read_answer

ANSWERS = st.lists(st.sampled_from(["6", "7", "c", "", None]), max_size=12)
LOG_PROBS = st.floats(-1e6, 0)


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        ([], None),
        ([None], None),
        ([None, None, None], None),
        (["6"], "6"),
        ([None, None, "6"], "6"),  # who abstains doesn't win
        (["7", "6", "6"], "6"),
        (["7", "6", "6", "7"], "7"),  # a tie: given first
        (["6", "7", "7", "6"], "6"),
        (["1", "2", "3"], "1"),  # all different
        ([None, "2", "1", "3"], "2"),
        (["7", "6", "06"], "6"),  # numbers count by their value, and the winner is spelled as it came first
        (["3,000", "2,000", "2000", "5,000"], "2,000"),
        (["7", "$6.00", "6.0"], "$6.00"),
        (["-5", "5", "\u22125"], "-5"),
        (["a", "A", "A"], "A"),  # all others are texts
        (["6 apples", "6 pears", "6 pears"], "6 pears"),
        (["", "", "6"], ""),  # an empty text is an answer; no answer is None
    ],
)
def test_the_most_frequent_answer_wins_and_of_equals_the_one_given_first(answers, winner):
    assert majority(answers) == winner


@pytest.mark.parametrize(
    ("answers", "weights", "winner"),
    [
        (["6", "7", "7"], [0.9, 0.4, 0.4], "6"),
        (["6", "7", "7"], [0.7, 0.4, 0.4], "7"),
        (["1", "2", "3"], [0.1, 0.3, 0.2], "2"),  # all different: the heaviest
        (["1", "2"], [0.5, 0.5], "1"),
        (["1", "2"], [0.0, 0.0], "1"),
        ([None, "2"], [9.0, 0.1], "2"),
        ([None], [1.0], None),
        (["1"] * 10 + ["2"], [0.1] * 10 + [1.0], "1"),  # ten tenths are one, not .9999999999999999: a tie
    ],
)
def test_weights_add_up_by_answer(answers, weights, winner):
    assert majority(answers, weights) == winner


@given(ANSWERS, st.randoms())
def test_the_order_of_samples_decides_ties_only(answers, chance):
    shuffled = list(answers)
    chance.shuffle(shuffled)
    before, after = tally(answers), tally(shuffled)
    assert before == after
    winner, other = majority(answers), majority(shuffled)
    assert winner == other or before[winner] == before[other] == max(before.values())


@given(st.lists(st.tuples(st.sampled_from(["6", "7", None]), LOG_PROBS), max_size=12), st.randoms())
def test_a_weighted_vote_does_not_depend_on_the_order_of_samples(samples, chance):
    shuffled = list(samples)
    chance.shuffle(shuffled)

    def votes(pairs):
        answers, log_probs = [answer for answer, _ in pairs], [value for _, value in pairs]
        return tally(answers, likelihoods(answers, log_probs, [1] * len(answers)))

    assert votes(samples) == votes(shuffled)


@given(ANSWERS)
def test_equal_weights_elect_as_votes_do(answers):
    assert majority(answers) == majority(answers, [0.25] * len(answers))
    assert majority(answers) == majority(answers, likelihoods(answers, [-700.0] * len(answers), [9] * len(answers)))


@given(st.lists(st.tuples(st.sampled_from(["6", "7", "8"]), st.integers(-60, 0)), min_size=1, max_size=10))
def test_weights_are_probabilities_up_to_one_factor(samples):
    answers, powers = [answer for answer, _ in samples], [power for _, power in samples]
    exact = {answer: sum(Fraction(2) ** p for a, p in samples if a == answer) for answer in answers}
    found = tally(answers, likelihoods(answers, [power * math.log(2) for power in powers], [1] * len(powers)))
    largest = max(powers)
    for answer, value in exact.items():
        assert math.isclose(found[answer], float(value / Fraction(2) ** largest), rel_tol=1e-12)


def test_probabilities_too_small_for_floats_still_decide():
    answers = ["6", "7", "7"]
    assert math.exp(-5000.0) == 0.0
    assert majority(answers, likelihoods(answers, [-5000.0, -5001.0, -5001.0], [5] * 3)) == "6"  # 1 against 2 / e
    assert majority(answers, likelihoods(answers, [-5000.0, -5000.5, -5000.5], [5] * 3)) == "7"  # 1 against 2 / sqrt(e)
    assert majority(answers, likelihoods(answers, [-1e30, -2e30, -2e30], [5] * 3)) == "6"


def test_a_likely_sample_without_an_answer_does_not_wash_out_the_others():
    answers = [None, "6", "7"]
    assert majority(answers, likelihoods(answers, [0.0, -2000.0, -1999.0], [5] * 3)) == "7"


def test_samples_of_probability_zero_vote_alike():
    assert likelihoods(["6", None, "7"], [-math.inf] * 3, [1] * 3) == [1.0, 0.0, 1.0]
    assert likelihoods(["6", "7"], [-math.inf, -9.0], [1, 1]) == [0.0, 1.0]
    assert likelihoods([], [], []) == []


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(InputError, match=f"a vote has the weight {weight}"):
        majority(["6", "7"], [1.0, weight])


def test_a_weight_too_few_and_a_log_prob_above_zero_are_refused():
    with pytest.raises(InputError, match="a vote over 2 answers has 1 weights"):
        majority(["6", "7"], [1.0])
    for value, length in ((0.5, 1), (0.5, 0), (0.5, 400), (math.nan, 400), (math.inf, 400)):
        with pytest.raises(InputError, match=f"a sample of {length} tokens has the log-probability {value}"):
            likelihoods(["6"], [value], [length])
    with pytest.raises(ValueError, match="zip"):
        likelihoods(["6", "7"], [-1.0, -1.0], [1])


def test_rounding_may_lift_the_sum_over_a_long_reply_above_zero_and_counts_as_certainty():
    """Where a logarithm of summed exponentials is an ulp too small, each token that is near certain adds that ulp."""
    tokens = 32_768
    above = float(np.full(tokens, np.finfo(np.float32).eps).sum())  # .0039, more than one token may have
    assert above > 1e-3
    assert likelihoods(["6", "7", "8"], [above, 0.0, -1.0], [tokens] * 3) == [1.0, 1.0, math.exp(-1.0)]


WORDS = tuple("6|6.0|06|$6|-6|\u22126|1,500|1500|500|.5|0.5|5|6 m|no|=| |.|\n".split("|"))
RIGHT = ("6", "-6", "1500", "500", "0.5", "5", "0")
BEFORE = ("", "6\n", "no\n", "1,000 ")


def judged(reward: Reward, reply: str, candidates: Iterable[str]) -> list[Any]:
    """What a reward says of one reply, were each of these the right answer."""
    return [reward([""], [reply], [right], chat=ChatFormat()) for right in candidates]


NUMERIC = st.tuples(st.sampled_from(WORDS[:12]), st.lists(st.sampled_from(WORDS), max_size=3).map("".join)).map("".join)


@given(NUMERIC, NUMERIC, st.sampled_from(RIGHT))
def test_numbers_share_a_ballot_exactly_if_rewards_say_the_same_of_them_whatever_were_right(one, other, asked):
    ballots = [read_answer(text, asked, ChatFormat()) for text in (one, other)]
    candidates = {*RIGHT, *ballots}
    verdicts = [judged(lenient, text, candidates) for text in (one, other)]
    assert verdicts == [judged(number, text, candidates) for text in (one, other)]
    assert (len(tally(ballots)) == 1) == (verdicts[0] == verdicts[1])


@pytest.mark.parametrize(
    ("asked", "texts"),
    [
        ("x", ("a", "b", "A", "6 m", "6 s", "Apollo 11", "Gemini 11", "2 = a", "6 = Apollo 11")),
        ("x=2", ("x=1", "x=3", "y=3")),
    ],
)
def test_texts_share_a_ballot_exactly_if_a_reward_says_the_same_of_them_whatever_were_right(asked, texts):
    replies = [before + text for text in texts for before in BEFORE]
    given = {text: read_answer(text, asked, ChatFormat()) for text in replies}
    verdicts = {text: judged(lenient, text, dict.fromkeys(given.values())) for text in replies}
    for one, other in combinations(replies, 2):
        assert (len(tally([given[one], given[other]])) == 1) == (verdicts[one] == verdicts[other])
