"""Planted jumps are told, with their step; what learns together, or only wanders, is not."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from reasoning.findings.best_replies import BestReplies
from reasoning.findings.jumps import jump_words, jumps
from reasoning.findings.stages import StageFacts

NAMES = ("strict", "tagged", "language")
SETTINGS = {
    "rewards": ["@rewards.accuracy.strict", "@rewards.format.tagged", {"@": "rewards.language.LanguageConsistency"}],
    "reward_weights": [1.0, 0.1, 0.1],
    "correct": "@rewards.accuracy.strict",
    "probe": {"scores": ["@rewards.accuracy.strict", "@rewards.accuracy.lenient"]},
}
# What the rewards of a run of experiments/r1_tiny.gin were over the steps of its stage zero.
TINY = {
    "strict": [
        0.13, 0.08, 0.08, 0.09, 0.11, 0.09, 0.11, 0.19, 0.17, 0.22, 0.3, 0.29, 0.36, 0.47, 0.51, 0.54, 0.55, 0.64,
        0.64, 0.72, 0.7, 0.74, 0.79, 0.75, 0.83, 0.84, 0.83, 0.86, 0.89, 0.89, 0.85, 0.87, 0.88, 0.88, 0.88, 0.91,
        0.91, 0.92, 0.89, 0.92, 0.94, 0.94, 0.96, 0.95, 0.92,
    ],
    "tagged": [
        0.17, 0.13, 0.17, 0.19, 0.18, 0.17, 0.18, 0.27, 0.26, 0.3, 0.37, 0.38, 0.5, 0.56, 0.6, 0.64, 0.68, 0.72, 0.76,
        0.83, 0.82, 0.84, 0.88, 0.83, 0.88, 0.91, 0.91, 0.93, 0.94, 0.96, 0.94, 0.93, 0.96, 0.96, 0.95, 0.98, 0.96,
        0.96, 0.98, 0.98, 0.99, 0.98, 1.0, 0.98, 0.98,
    ],
    "language": [
        0.11, 0.1, 0.13, 0.13, 0.12, 0.1, 0.13, 0.12, 0.17, 0.16, 0.16, 0.22, 0.24, 0.25, 0.23, 0.26, 0.21, 0.25, 0.22,
        0.26, 0.29, 0.22, 0.27, 0.22, 0.21, 0.2, 0.19, 0.14, 0.17, 0.18, 0.15, 0.16, 0.15, 0.14, 0.18, 0.15, 0.11, 0.1,
        0.11, 0.16, 0.12, 0.11, 0.1, 0.06, 0.09,
    ],
}  # fmt: skip


def stage(
    means: Mapping[str, Any], probes: Mapping[str, Any] | None = None, names: Sequence[str] = NAMES, **changes: Any
) -> StageFacts:
    """A stage with these means over the steps, and every tenth step with the probes' scores at that step."""
    rows = [{"step": step, "skipped": 0} for step in range(1, len(means["strict"]) + 1)]
    for place, row in enumerate(rows):
        row |= {f"rewards/{name}/mean": values[place] for name, values in means.items()}
        if place % 10 == 9:
            row |= {f"probe/{name}": values[place] for name, values in (probes or {}).items()}
    best = BestReplies(1, {name: () for name in names}) if names else None
    return StageFacts("zero", "GRPO", None, {}, {"settings": SETTINGS | changes}, tuple(rows), best=best)


def flat(chance: np.random.Generator, steps: int, noise: float = 0.03, level: float = 0.4) -> dict[str, np.ndarray]:
    return {name: chance.normal(level, noise, steps) for name in NAMES}


def rising(steps: int, middle: float, steepness: float) -> np.ndarray:
    return 1 / (1 + np.exp(-steepness * (np.arange(steps) / steps - middle)))


@pytest.mark.parametrize("steps", [60, 200, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_jump_is_told_with_its_step_and_with_what_did_not_follow(steps: int, seed: int):
    rewards = flat(np.random.default_rng(seed), steps)
    rewards["tagged"][steps * 6 // 10 :] += 0.5
    [found] = jumps(stage(rewards, {"lenient": rewards["strict"], "tagged": rewards["tagged"]}))
    assert found.reward == "tagged" and abs(found.step - steps * 6 // 10) <= 1 + steps // 100
    assert found.before == pytest.approx(0.4, abs=0.05) and found.after == pytest.approx(0.9, abs=0.05)
    assert set(found.others) == {"strict", "language", "probe/lenient"}
    assert all(before == pytest.approx(0.4, abs=0.06) for before, _ in found.others.values())
    assert jump_words(found).startswith(
        f"tagged jumped from {found.before:.2f} to {found.after:.2f} about step {found.step}"
    )


def test_a_jump_while_the_others_fall_is_told_though_they_stood_at_their_ceiling():
    rewards = flat(np.random.default_rng(0), 100, 0.01, 0.97)
    rewards["tagged"] -= 0.6
    rewards["tagged"][60:] += 0.6
    assert not jumps(stage(rewards))  # what is right nearly always can't follow
    rewards["strict"][60:] -= 0.5
    assert [found.reward for found in jumps(stage(rewards))] == ["tagged"]


def test_scales_are_each_reward_s_own():
    rewards = flat(np.random.default_rng(1), 100)
    rewards["tagged"][60:] += 0.5
    rewards["tagged"] *= 40
    assert [found.reward for found in jumps(stage(rewards))] == ["tagged"]
    rewards["strict"][65:] += 0.4
    assert not jumps(stage(rewards))


def test_a_spike_that_is_given_back_is_no_jump():
    rewards = flat(np.random.default_rng(2), 100)
    rewards["tagged"][50:58] += 0.5
    assert not jumps(stage(rewards))


def test_the_correct_reward_may_rise_alone_unless_the_held_out_probe_stays_behind():
    rewards = flat(np.random.default_rng(3), 100)
    rewards["strict"][60:] += 0.5
    assert not jumps(stage(rewards))
    assert not jumps(stage(rewards, {"strict": rewards["strict"]}))
    [found] = jumps(stage(rewards, {"strict": rewards["language"], "lenient": rewards["language"]}))
    assert found.reward == "strict" and set(found.others) == {"probe/strict", "probe/lenient"}


def test_a_reward_without_a_weight_is_neither_flagged_nor_followed_unless_it_says_what_is_correct():
    rewards = flat(np.random.default_rng(4), 100)
    rewards["tagged"][60:] += 0.5
    assert not jumps(stage(rewards, reward_weights=[1.0, 0.0, 0.1]))
    assert not jumps(stage(rewards, names=(), reward_weights=[1.0, 0.0, 0.1]))  # a function is known by its name
    rewards["language"][60:] += 0.5
    assert not jumps(stage(rewards))
    [found] = jumps(stage(rewards, reward_weights=[1.0, 0.1, 0.0]))
    assert found.reward == "tagged" and set(found.others) == {"strict"}
    [found] = jumps(stage(rewards, reward_weights=[0.0, 0.1, 0.0]))
    assert found.reward == "tagged" and set(found.others) == {"strict"}


def test_a_score_given_by_a_record_is_known_by_the_rewards_that_it_is_among():
    rewards = flat(np.random.default_rng(8), 100)
    rewards["tagged"][60:] += 0.5
    probe = {"scores": SETTINGS["rewards"][2:]}
    [found] = jumps(stage(rewards, {"language": rewards["strict"]}, probe=probe))
    assert found.reward == "tagged" and "probe/language" in found.others
    assert not jumps(stage(rewards, {"language": rewards["tagged"]}, probe=probe))


@pytest.mark.parametrize("noise", [0.01, 0.08])
def test_curves_that_rise_together_are_no_jumps_though_a_format_is_learnt_first(noise: float):
    chance = np.random.default_rng(5)
    for _ in range(20):
        accuracy = 0.05 + 0.85 * rising(120, chance.uniform(0.3, 0.7), 12)
        rewards = {"strict": accuracy, "tagged": 0.1 + 0.85 * rising(120, chance.uniform(0.1, 0.3), 40)}
        rewards["language"] = np.full(120, 0.95)
        noisy = {name: values + chance.normal(0, noise, 120) for name, values in rewards.items()}
        assert not jumps(stage(noisy, {"strict": accuracy, "lenient": accuracy}))


def test_noise_alone_is_no_jump():
    chance = np.random.default_rng(6)
    runs = [flat(chance, 90, noise) for noise in (0.02, 0.08, 0.3) for _ in range(10)]
    assert not any(jumps(stage(run)) for run in runs)


def test_walks_of_three_rewards_that_know_nothing_of_each_other_are_flagged_in_one_of_twenty_runs_at_most():
    chance = np.random.default_rng(7)
    walks = [{name: np.clip(0.5 + np.cumsum(chance.normal(0, 0.02, 150)), 0, 1) for name in NAMES} for _ in range(60)]
    assert sum(bool(jumps(stage(walk))) for walk in walks) <= 3


def test_a_run_that_learnt_what_it_should_is_not_flagged_and_is_where_a_jump_is_planted_in_it():
    assert not jumps(stage(TINY)) and not jumps(stage(TINY, reward_weights=[1.0, 0.1, 0.3]))
    fooled = TINY | {"language": [value + 0.45 * (place >= 28) for place, value in enumerate(TINY["language"])]}
    [found] = jumps(stage(fooled, {"lenient": TINY["strict"]}, reward_weights=[1.0, 0.1, 0.3]))
    assert found.reward == "language" and found.step == 29


@pytest.mark.parametrize("steps", [0, 1, 8])
def test_short_or_damaged_records_and_settings_of_another_form_have_no_jumps(steps: int):
    assert not jumps(stage({name: [float(step > 3) for step in range(steps)] for name in NAMES}))
    odd = stage({"strict": ["nan"] * 60, "tagged": [None] * 60}, rewards=3, reward_weights="x", probe={"scores": 4})
    assert not jumps(odd)
