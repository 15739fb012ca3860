"""Completions with what they were given for: totals of rewards, their metrics, and which groups a step learns from.

Shapes: P prompts of this process, G samples a prompt, N new tokens.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reasoning.core import mesh as meshes
from reasoning.generation.engine import Rollouts
from reasoning.rewards.reward import Judgement
from reasoning.rollouts.prompt_sampler import Sampled, completion_metrics
from reasoning.rollouts.rating import judgements_of_all_processes
from reasoning.training.policy_rows import policy_rows


@dataclass(frozen=True)
class Rewarded:
    """Completions with their texts [P][G], each reward's values [P, G] by its name, and the total rewards [P, G].

    ``ungraded`` and ``judgements`` are those of ``rating.Ratings``; a completion that was not graded has the total NaN.
    """

    sampled: Sampled
    texts: list[list[str]]
    values: Mapping[str, np.ndarray]
    rewards: np.ndarray
    ungraded: Mapping[str, np.ndarray] = field(default_factory=dict)
    judgements: Mapping[str, np.ndarray] = field(default_factory=dict)
    marking_flops: float = 0.0  # what scorers took to read all processes' completions


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
        rewards=chosen([attempt.rewards for attempt in attempts]),
        marking_flops=sum(attempt.marking_flops for attempt in attempts),
        **{
            field: {
                name: chosen([getattr(one, field)[name] for one in attempts]) for name in getattr(attempts[0], field)
            }
            for field in ("values", "ungraded", "judgements")
        },
    )


def first_with_signal(signal: np.ndarray, places: int) -> list[int]:
    """The ``places`` groups that are learnt from, in the order of their sampling.

    ``signal`` says for each group whether it teaches anything. Those that do come first, the surplus is dropped, and
    places that stay free go to the first of the others.
    """
    order = np.concatenate([np.flatnonzero(signal), np.flatnonzero(~signal)])
    return sorted(int(group) for group in order[:places])


def total_rewards(
    reward_weights: Sequence[float], values: Mapping[str, np.ndarray], ungraded: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The weighted sum [P, G] of all rewards; one that doesn't apply to a completion (NaN) adds nothing, as in TRL.

    NaN for a completion that one of the rewards with a weight could not grade.
    """
    rewards_PG = sum(
        (weight * np.nan_to_num(values_PG) for weight, values_PG in zip(reward_weights, values.values(), strict=True)),
        start=np.zeros(()),
    )
    for weight, name in zip(reward_weights, values, strict=True):
        if weight and name in ungraded:
            rewards_PG = np.where(ungraded[name], np.nan, rewards_PG)
    return rewards_PG


def rollout_metrics(rewarded: Rewarded, correct: str = "") -> dict[str, float]:
    """What a step sampled, over all processes, under the names that TRL's users know.

    As there, ``reward_std`` is the mean of the groups' sample deviations (divisor G - 1), and a reward's own mean is
    over the completions that it applies to (NaN where there are none). Completions that were not graded are in none of
    these, and a group of no others in no mean over groups. Correct is what the reward ``correct`` gives 1 or more;
    without any such completion there is no length of them.
    """
    metrics = _group_metrics(rewarded.rewards)
    metrics |= completion_metrics(rewarded.sampled.rollouts)
    everyone = {name: meshes.rows_of_all_processes(values_PG) for name, values_PG in rewarded.values.items()}
    for name, values_PG in everyone.items():
        applies_PG = ~np.isnan(values_PG)
        metrics[f"rewards/{name}/mean"] = float(values_PG[applies_PG].mean()) if applies_PG.any() else float("nan")
    for name, ungraded_PG in rewarded.ungraded.items():
        share = float(meshes.rows_of_all_processes(ungraded_PG).mean())
        if share or name in rewarded.judgements:
            metrics[f"rewards/{name}/ungraded"] = share
    for name, judgements_PG in rewarded.judgements.items():
        metrics |= _verdict_metrics(name, judgements_of_all_processes(judgements_PG).reshape(-1).tolist())
    if correct in everyone:
        correct_PG = everyone[correct] >= 1
        lengths_PG = meshes.rows_of_all_processes(rewarded.sampled.rollouts.lengths)
        if correct_PG.any():
            metrics["completions/mean_length/correct"] = float(lengths_PG[correct_PG].mean())
    return metrics


def _group_metrics(rewards_PG: np.ndarray) -> dict[str, float]:
    """Means over all processes' groups with a graded completion, from this process's; NaN is one that was not."""
    graded_PG = ~np.isnan(rewards_PG)
    counts_P1 = np.maximum(graded_PG.sum(axis=1, keepdims=True), 1)
    means_P1 = np.where(graded_PG, rewards_PG, 0).sum(axis=1, keepdims=True) / counts_P1
    squares_P = np.where(graded_PG, (rewards_PG - means_P1) ** 2, 0).sum(axis=1)
    most_P = np.where(graded_PG, rewards_PG, -np.inf).max(axis=1)
    least_P = np.where(graded_PG, rewards_PG, np.inf).min(axis=1)
    per_prompt = {
        "reward": means_P1[:, 0],
        "reward_std": np.sqrt(squares_P / np.maximum(counts_P1[:, 0] - 1, 1)),
        "frac_reward_zero_std": (most_P == least_P).astype(np.float64),
    }
    taught = meshes.rows_of_all_processes(np.array(graded_PG.any(axis=1)))
    everyone = {name: meshes.rows_of_all_processes(values_P)[taught] for name, values_P in per_prompt.items()}
    return {name: float(values_P.mean()) if values_P.size else float("nan") for name, values_P in everyone.items()}


def _verdict_metrics(name: str, judgements: Sequence[Judgement]) -> dict[str, float]:
    """The share of each verdict that was given, and how many processes the clock ended; none without verdicts."""
    verdicts = Counter(each.verdict for each in judgements if each.verdict)
    if not verdicts:
        return {}
    total = verdicts.total()
    shares = {f"rewards/{name}/verdict/{verdict}": count / total for verdict, count in sorted(verdicts.items())}
    return shares | {f"rewards/{name}/wall_kills": sum(each.wall_kills for each in judgements)}
