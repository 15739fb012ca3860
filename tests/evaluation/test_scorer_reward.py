"""A reward model's mark as a reward: by hand, within other rewards, and where nobody has read replies."""

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.scorer_reward import ScorerReward
from reasoning.evaluation.scorers import minimum
from reasoning.rewards.kinds import ForKinds
from reasoning.rewards.mixed import FirstThatApplies
from reasoning.rewards.reward import reward_name, scorers_of
from reasoning.rollouts.rating import rate
from reasoning.tasks.problems import Problem

PROBLEMS = [Problem("1+1?", "2", "sums"), Problem("France?", "Paris", "capitals")]
STEPS = ([0.5, 0.25], [0.75], [1.0, 0.0, 0.5], [0.125])
MARKS = [{"judge": np.array(steps), "other": np.zeros(1)} for steps in STEPS]
FREE, LENGTHS = np.zeros((2, 2), bool), np.ones((2, 2), int)


def test_a_mark_is_an_aggregate_of_the_scores_of_steps():
    whole, least = ScorerReward(scorer="judge"), ScorerReward(scorer="judge", aggregate=minimum)
    rewards = (whole, least, ForKinds(whole, ("capitals",)))
    values = rate(rewards, PROBLEMS, [["a", "b"], ["c", "d"]], FREE, LENGTHS, ChatFormat(), MARKS).values
    np.testing.assert_array_equal(values["judge_last"], [[0.25, 0.75], [0.5, 0.125]])
    np.testing.assert_array_equal(values["judge_minimum"], [[0.25, 0.75], [0, 0.125]])
    np.testing.assert_array_equal(values["judge_last_capitals"], [[np.nan, np.nan], [0.5, 0.125]])


def test_rewards_tell_which_scorers_they_ask_also_those_within():
    mark = ScorerReward(scorer="judge")
    assert scorers_of(mark) == ("judge",) == scorers_of(ForKinds(mark, ("sums",)))
    assert scorers_of(FirstThatApplies((ForKinds(mark, ("sums",)), ScorerReward(scorer="other")))) == ("judge", "other")
    assert scorers_of(reward_name) == () == scorers_of(ForKinds(reward_name, ("sums",)))


def test_where_no_scorer_reads_replies_the_reward_says_so():
    with pytest.raises(InputError, match="the reward judge_last wants what the scorer judge made of the replies"):
        rate((ScorerReward(scorer="judge"),), PROBLEMS, [["a", "b"], ["c", "d"]], FREE, LENGTHS, ChatFormat())
