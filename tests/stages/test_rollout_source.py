"""Where the batches of policy gradients come from: what they hold, and when a step samples again."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_stages import BASE, NEW_TOKENS, TRAIN, reinforce, source_and_state, work

from reasoning.core.artifact import Artifact
from reasoning.evaluation.scorer_reward import ScorerReward
from reasoning.evaluation.scorers import Cost
from reasoning.objectives.advantages import group_mean, group_normalized
from reasoning.rollouts.prompt_sampler import batch_places
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.training import shared_prompts
from reasoning.training.metrics import rollouts_file
from reasoning.training.policy_rows import every_group


def length(completions: list[str], **columns: Any) -> list[float]:
    """A reward that tells completions apart almost always."""
    return [float(len(text)) for text in completions]


def constant(completions: list[str], **columns: Any) -> list[float]:
    return [0.3] * len(completions)


def test_selecting_every_group_counts_the_tokens_of_those_without_signal_too(base: Artifact, tmp_path: Path):
    def half(completions: list[str], **columns: Any) -> list[float]:
        return [1.0] * 8 + [float(len(text)) for text in completions[8:]]

    everything = work(reinforce(rewards=(constant,), select=every_group), tmp_path, {"start": base})
    assert everything.metrics()[0]["entropy"] > 1
    batches = [source_and_state(reinforce(rewards=(half,), **more), base) for more in ({}, {"select": every_group})]
    (some, _), (every, _) = (source(state, 0) for source, state in batches)
    masks = [np.asarray(batch.rows.mask).reshape(4, 4, -1) for batch in (some, every)]
    assert masks[1].any(axis=2).all()
    np.testing.assert_array_equal(masks[0], masks[1] * np.array([0, 0, 1, 1])[:, None, None])
    np.testing.assert_allclose([batch.rows.weights.sum() for batch in (some, every)], 1, rtol=1e-5)


@pytest.mark.parametrize("advantage", [group_mean, group_normalized])
def test_a_batch_carries_the_advantages_and_the_room_of_its_own_completions(
    base: Artifact, advantage: Any, monkeypatch: pytest.MonkeyPatch
):
    rooms = {room / NEW_TOKENS: 1 for room in range(1, NEW_TOKENS + 1)}
    monkeypatch.setattr(shared_prompts, "_ROOMS", rooms)
    source, state = source_and_state(reinforce(rewards=(length,), advantage=advantage, select=every_group), base)
    batch, metrics = source(state, 0)
    tokenizer = tokenizer_of(base)
    end, mask = tokenizer.symbol_id("<|end|>"), np.asarray(batch.rows.mask)
    texts = []
    for targets, counts in zip(np.asarray(batch.rows.targets), mask, strict=True):
        completion = np.minimum(targets[counts == 1], tokenizer.vocabulary_size)
        known = np.where(completion == tokenizer.vocabulary_size, 1, completion)  # 1: the unknown symbol's id
        texts.append(tokenizer.decode(known[known != end]))
    rewards = np.array([len(text) for text in texts], np.float64).reshape(4, 4)
    assert metrics["reward"] == rewards.mean()
    np.testing.assert_allclose(metrics["completions/mean_length"], mask.sum() / 16)
    longest = mask.sum(axis=1).reshape(4, 4).mean(axis=1).max()
    assert batch.rows.room == math.ceil(longest)
    centred = rewards - rewards.mean(1, keepdims=True)
    scale = 1 if advantage is group_mean else rewards.std(1, ddof=1, keepdims=True) + 1e-4
    np.testing.assert_allclose(batch.advantages[:, 0], (centred / scale).reshape(-1), rtol=1e-4, atol=1e-5)


def test_a_problem_that_comes_twice_in_a_batch_is_answered_anew(base: Artifact):
    source, state = source_and_state(reinforce(problems=replace(TRAIN, count=2)), base)
    batch, _ = source(state, 0)
    tokens = np.asarray(batch.rows.tokens).reshape(4, 4, -1)
    prompts = [group[0, :6].tolist() for group in tokens]
    pairs = [(a, b) for a in range(4) for b in range(a) if prompts[a] == prompts[b]]
    assert pairs and not any(np.array_equal(tokens[a], tokens[b]) for a, b in pairs)
    assert batch_places(3) == [0, 1, 2]


def test_cut_off_replies_can_go_without_loss_and_still_count_in_their_group(base: Artifact):
    batches = []
    for settings in ({}, {"mask_truncated": True}):
        source, state = source_and_state(reinforce(select=every_group, **settings), base)
        batches.append(source(state, 0)[0])
    every, some = batches
    cut = np.asarray(every.advantages[:, 0]) < 0  # early_end punishes exactly what was cut off
    assert 0 < cut.sum() < 16
    np.testing.assert_array_equal(some.rows.mask, np.where(cut[:, None], 0, every.rows.mask))
    np.testing.assert_array_equal(some.advantages, every.advantages)
    np.testing.assert_allclose(some.rows.weights.sum(), 1, rtol=1e-5)


def test_kl_can_be_over_other_groups_than_the_loss(base: Artifact):
    everywhere = reinforce(rewards=(constant,), kl_coefficient=0.1, kl_select=every_group)
    source, state = source_and_state(everywhere, base)
    batch, _ = source(state, 0)
    assert batch.rows.mask.sum() == 0
    np.testing.assert_allclose(batch.kl_weights.sum(), 1, rtol=1e-5)


def test_a_step_samples_again_until_all_groups_teach_or_it_has_tried_often_enough(base: Artifact, tmp_path: Path):
    def seldom(completions: list[str], **columns: Any) -> list[float]:
        """Only the first two groups of an attempt differ."""
        return [float(number) for number in range(8)] + [0.5] * 8

    def never_twice(completions: list[str], **columns: Any) -> list[float]:
        """The very first group teaches, and no other ever does."""
        calls.append(1)
        return [float(number) for number in range(4)] + [0.5] * 12 if len(calls) == 1 else [0.5] * 16

    calls: list[int] = []
    source, state = source_and_state(reinforce(rewards=(seldom,), resample=5), base)
    batch, metrics = source(state, 0)
    assert metrics["sampling/attempts"] == 2 and metrics["frac_reward_zero_std"] == 0.5 and "epoch" not in metrics
    assert batch.rows.mask.reshape(4, -1).any(axis=1).all()
    other, fresh = source_and_state(reinforce(rewards=(seldom,)), base)
    first, once = other(fresh, 0)
    assert metrics["tokens"] > once["tokens"] and metrics["flops"] > 1.5 * once["flops"]
    np.testing.assert_array_equal(batch.rows.mask[:8].sum(1), first.rows.mask[:8].sum(1))
    further = other(fresh, 1)[0]
    assert other.get_state() == source.get_state()  # the prompts of both attempts are used up
    assert not np.array_equal(batch.rows.mask[8:].sum(1), further.rows.mask[:8].sum(1))
    source, state = source_and_state(reinforce(rewards=(never_twice,), resample=2), base)
    batch, metrics = source(state, 0)
    assert metrics["sampling/attempts"] == 3 and len(calls) == 3
    np.testing.assert_array_equal(batch.rows.mask.reshape(4, -1).any(axis=1), [1, 0, 0, 0])
    made = work(reinforce(steps=1, rewards=(seldom,), resample=3), tmp_path, {"start": base})
    table = pq.read_table(rollouts_file(made.path, 1))
    assert [advantage != 0 for advantage in table["advantage"].to_pylist()] == [True] * 16


class Digest:
    """A scorer that makes a number of what it read, which nobody gets of other tokens."""

    separator = ""

    def scores(self, prompts, replies, ends) -> list[np.ndarray]:
        return [
            np.array([(3 * sum(prompt) + 7 * sum(reply)) % 11 / 11])
            for prompt, reply in zip(prompts, replies, strict=True)
        ]

    def cost(self, prompts, replies, ends) -> Cost:
        read = np.array([len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)])
        return Cost(read, 1e6 * read)


def test_a_scorers_mark_of_prompt_and_reply_is_a_reward_and_its_operations_count(base: Artifact):
    mark, judge = ScorerReward(scorer="digest"), replace(BASE, name="digest")
    stage = reinforce(rewards=(mark,), select=every_group, scorers=(judge,))
    source, state = source_and_state(stage, base, {"digest": Digest()})
    batch, metrics = source(state, 0)
    plain, fresh = source_and_state(reinforce(select=every_group), base)
    same, costs = plain(fresh, 0)
    np.testing.assert_array_equal(batch.rows.tokens, same.rows.tokens)
    replies_B = (np.asarray(same.rows.targets) * np.asarray(same.rows.mask, int)).sum(axis=1)
    wholes_B = (np.asarray(same.rows.tokens) * np.asarray(same.rows.segments)).sum(axis=1)
    rewards_PG = ((3 * (wholes_B - replies_B) + 7 * replies_B) % 11 / 11).reshape(4, 4)
    np.testing.assert_allclose(metrics["rewards/digest_last/mean"], rewards_PG.mean(), rtol=1e-6)
    scale = rewards_PG.std(1, ddof=1, keepdims=True) + 1e-4
    expected = (rewards_PG - rewards_PG.mean(1, keepdims=True)) / scale
    np.testing.assert_allclose(np.asarray(batch.advantages)[:, 0], expected.reshape(-1), rtol=1e-4, atol=1e-5)
    assert metrics["flops"] - costs["flops"] == 1e6 * np.asarray(same.rows.segments).sum()
