"""Settings of learning from rewards that contradict each other are refused."""

from dataclasses import replace
from typing import Any

import pytest
from tiny_stages import BASE, early_end, reinforce

from reasoning.core.errors import InputError
from reasoning.evaluation.scorer_reward import ScorerReward


def constant(completions: list[str], **columns: Any) -> list[float]:
    return [0.3] * len(completions)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(InputError, match="1 rewards have 2 reward_weights; give one weight a reward"):
        reinforce(reward_weights=(1.0, 2.0))
    with pytest.raises(InputError, match="0 rewards have 0 reward_weights"):
        reinforce(rewards=(), reward_weights=())
    with pytest.raises(InputError, match="rewards has two functions named early_end"):
        reinforce(rewards=(early_end, early_end), reward_weights=(1.0, 1.0))


def test_the_reward_that_says_what_is_right_must_be_one_of_the_rewards():
    assert reinforce(correct=early_end).correct is early_end
    with pytest.raises(InputError, match="correct is constant, which is not among rewards"):
        reinforce(correct=constant)


def test_scorers_are_those_that_rewards_ask():
    mark, judge = ScorerReward(scorer="judge"), replace(BASE, name="judge")
    stage = reinforce(rewards=(early_end, mark), reward_weights=(1.0, 1.0), scorers=(judge,))
    assert stage.scorers == (judge,)
    with pytest.raises(InputError, match="judge_last asks the scorer judge, and the scorers are none; add it"):
        replace(stage, scorers=())
    with pytest.raises(InputError, match="no reward asks the scorer judge; name a ScorerReward of it, or drop it"):
        replace(stage, rewards=(early_end,), reward_weights=(1.0,))
