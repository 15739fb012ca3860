"""Completions with what they were given for: totals of rewards, their metrics, and which groups a step learns from.

Shapes: P prompts of this process, G samples a prompt, N new tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reasoning.core import mesh as meshes
from reasoning.generation.engine import Rollouts
from reasoning.rollouts.prompt_sampler import Sampled, completion_metrics
from reasoning.training.policy_rows import policy_rows


@dataclass(frozen=True)
class Rewarded:
    """Completions with their texts [P][G], each reward's values [P, G] by its name, and the total rewards [P, G]."""

    sampled: Sampled
    texts: list[list[str]]
    values: Mapping[str, np.ndarray]
    rewards: np.ndarray


def joined(attempts: Sequence[Rewarded], groups: Sequence[int], limit: int, padded_lengths: Sequence[int]) -> Rewarded:
    """Some ``groups`` of several attempts' completions, counted through all attempts, as one attempt.

    Its rows are padded anew, as ``policy_rows`` does; every process calls it with the same number of groups.
    """

    def chosen(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts)[np.array(groups)]

    def listed(parts: Sequence[Sequence]) -> list:
        whole = [entry for part in parts for entry in part]
        return [whole[group] for group in groups]

    all_sampled = [attempt.sampled for attempt in attempts]
    names = Rollouts.names()
    rollouts = Rollouts(*(chosen([getattr(one.rollouts, name) for one in all_sampled]) for name in names))
    prompts = listed([one.prompts for one in all_sampled])
    return Rewarded(
        sampled=Sampled(
            numbers=listed([one.numbers for one in all_sampled]),
            problems=listed([one.problems for one in all_sampled]),
            prompts=prompts,
            rollouts=rollouts,
            rows=policy_rows(prompts, rollouts, limit, padded_lengths),
        ),
        texts=listed([attempt.texts for attempt in attempts]),
        values={name: chosen([attempt.values[name] for attempt in attempts]) for name in attempts[0].values},
        rewards=chosen([attempt.rewards for attempt in attempts]),
    )


def first_with_signal(signal: np.ndarray, places: int) -> list[int]:
    """The ``places`` groups that are learnt from, in the order of their sampling.

    ``signal`` says for each group whether it teaches anything. Those that do come first, the surplus is dropped, and
    places that stay free go to the first of the others.
    """
    order = np.concatenate([np.flatnonzero(signal), np.flatnonzero(~signal)])
    return sorted(int(group) for group in order[:places])


def total_rewards(reward_weights: Sequence[float], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The weighted sum [P, G] of all rewards; one that doesn't apply to a completion (NaN) adds nothing, as in TRL."""
    return sum(
        (weight * np.nan_to_num(values_PG) for weight, values_PG in zip(reward_weights, values.values(), strict=True)),
        start=np.zeros(()),
    )


def rollout_metrics(
    rollouts: Rollouts, values: Mapping[str, np.ndarray], rewards_PG: np.ndarray, correct: str = ""
) -> dict[str, float]:
    """What a step sampled, over all processes, under the names that TRL's users know.

    As there, ``reward_std`` is the mean of the groups' sample deviations (divisor G - 1), and a reward's own mean is
    over the completions that it applies to (NaN where there are none). Correct is what the reward ``correct`` gives 1
    or more; without any such completion there is no length of them.
    """
    others = max(rewards_PG.shape[1] - 1, 1)
    centred_PG = rewards_PG - rewards_PG.mean(axis=1, keepdims=True)
    per_prompt = {
        "reward": rewards_PG.mean(axis=1),
        "reward_std": np.sqrt((centred_PG**2).sum(axis=1) / others),
        "frac_reward_zero_std": (rewards_PG.max(axis=1) == rewards_PG.min(axis=1)).astype(np.float64),
    }
    metrics = {name: float(meshes.rows_of_all_processes(values_P).mean()) for name, values_P in per_prompt.items()}
    metrics |= completion_metrics(rollouts)
    for name, values_PG in values.items():
        everyone_PG = meshes.rows_of_all_processes(values_PG)
        applies_PG = ~np.isnan(everyone_PG)
        metrics[f"rewards/{name}/mean"] = float(everyone_PG[applies_PG].mean()) if applies_PG.any() else float("nan")
    if correct in values:
        correct_PG = meshes.rows_of_all_processes(values[correct]) >= 1
        lengths_PG = meshes.rows_of_all_processes(rollouts.lengths)
        if correct_PG.any():
            metrics["completions/mean_length/correct"] = float(lengths_PG[correct_PG].mean())
    return metrics
