"""Votes: who wins, on ties and empty ballots too, and that order and scale of the samples don't matter."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.generation.voting import likelihoods, majority, tally

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
        (["6", "06", "06"], "06"),  # answers are texts: 06 isn't 6
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
        return tally(answers, likelihoods(answers, log_probs))

    assert votes(samples) == votes(shuffled)


@given(ANSWERS)
def test_equal_weights_elect_as_votes_do(answers):
    assert majority(answers) == majority(answers, [0.25] * len(answers))
    assert majority(answers) == majority(answers, likelihoods(answers, [-700.0] * len(answers)))


@given(st.lists(st.tuples(st.sampled_from(["6", "7", "8"]), st.integers(-60, 0)), min_size=1, max_size=10))
def test_weights_are_probabilities_up_to_one_factor(samples):
    answers, powers = [answer for answer, _ in samples], [power for _, power in samples]
    exact = {answer: sum(Fraction(2) ** p for a, p in samples if a == answer) for answer in answers}
    found = tally(answers, likelihoods(answers, [power * math.log(2) for power in powers]))
    largest = max(powers)
    for answer, value in exact.items():
        assert math.isclose(found[answer], float(value / Fraction(2) ** largest), rel_tol=1e-12)


def test_probabilities_too_small_for_floats_still_decide():
    answers = ["6", "7", "7"]
    assert math.exp(-5000.0) == 0.0
    assert majority(answers, likelihoods(answers, [-5000.0, -5001.0, -5001.0])) == "6"  # 1 against 2 / e
    assert majority(answers, likelihoods(answers, [-5000.0, -5000.5, -5000.5])) == "7"  # 1 against 2 / sqrt(e)
    assert majority(answers, likelihoods(answers, [-1e30, -2e30, -2e30])) == "6"


def test_a_likely_sample_without_an_answer_does_not_wash_out_the_others():
    answers = [None, "6", "7"]
    assert majority(answers, likelihoods(answers, [0.0, -2000.0, -1999.0])) == "7"


def test_samples_of_probability_zero_vote_alike():
    assert likelihoods(["6", None, "7"], [-math.inf] * 3) == [1.0, 0.0, 1.0]
    assert likelihoods(["6", "7"], [-math.inf, -9.0]) == [0.0, 1.0]
    assert likelihoods([], []) == []


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(InputError, match=f"a vote has the weight {weight}"):
        majority(["6", "7"], [1.0, weight])


def test_a_weight_too_few_and_a_log_prob_above_zero_are_refused():
    with pytest.raises(InputError, match="a vote over 2 answers has 1 weights"):
        majority(["6", "7"], [1.0])
    for value in (0.5, math.nan):
        with pytest.raises(InputError, match=f"a sample has the log-probability {value}"):
            likelihoods(["6"], [value])
