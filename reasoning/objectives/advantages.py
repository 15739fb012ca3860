"""Advantages from the rewards of a group of completions of one prompt.

Legend: P prompts, G completions of each (the group).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

_EPSILON = 1e-4
"""Added to the standard deviation, as in TRL: it bounds the advantages of groups whose rewards hardly differ."""

Rewards = Float[Array | np.ndarray, "P G"]


def group_mean(rewards_PG: Rewards) -> Float[Array, "P G"]:
    """Reward minus the group's mean, so that a prompt's difficulty drops out; exactly 0 for a group of equal rewards.

    Dr. GRPO, arXiv 2503.20783, section 3.2: without division by the standard deviation, which favours prompts that are
    nearly always or nearly never solved.
    """
    rewards_PG = jnp.asarray(rewards_PG)
    centred_PG = rewards_PG - rewards_PG.mean(axis=1, keepdims=True)
    # The mean of equal numbers can be off by a rounding, which a division by EPSILON would blow up.
    return jnp.where(groups_with_signal(rewards_PG)[:, None], centred_PG, 0)


def group_normalized(rewards_PG: Rewards) -> Float[Array, "P G"]:
    """(reward - group mean) / (group standard deviation + 1e-4); exactly 0 for a group of equal rewards.

    The deviation is the sample's (divisor G - 1): the paper writes only "std", and TRL and verl both compute the
    sample's. The population's would make advantages sqrt(G / (G - 1)) larger. GRPO, arXiv 2402.03300, section 4.1.2.
    """
    rewards_PG = jnp.asarray(rewards_PG)
    centred_PG = group_mean(rewards_PG)
    others = max(rewards_PG.shape[1] - 1, 1)
    deviation_P1 = jnp.sqrt(jnp.sum(jnp.square(centred_PG), axis=1, keepdims=True) / others)
    return centred_PG / (deviation_P1 + _EPSILON)


def groups_with_signal(rewards_PG: Rewards) -> Bool[Array, " P"]:
    """Which groups teach anything: those whose rewards are not all equal (a NaN counts, so that it shows).

    DAPO, arXiv 2503.14476, section 3.2, drops the others.
    """
    rewards_PG = jnp.asarray(rewards_PG)
    return rewards_PG.max(axis=1) != rewards_PG.min(axis=1)


@dataclass(frozen=True)
class AmongGraded:
    """An advantage ``function`` for rewards of which some are NaN, since nobody could grade those completions.

    Each group is to it as if it had been sampled with fewer completions, so those left out are in no mean and no
    deviation; their own advantage is 0. ``function`` must look at each group alone.
    """

    function: Callable[..., Any]

    def __call__(self, rewards_PG: Rewards) -> Float[Array, "P G"]:
        first_PG, order_PG, counts_P = _graded_first(rewards_PG)
        advantages_PG = jnp.zeros_like(first_PG)
        for count in range(1, first_PG.shape[1] + 1):
            own_PG = jnp.zeros_like(first_PG).at[:, :count].set(self.function(first_PG[:, :count]))
            advantages_PG = jnp.where(counts_P[:, None] == count, own_PG, advantages_PG)
        return jnp.take_along_axis(advantages_PG, jnp.argsort(order_PG, axis=1), axis=1)


@dataclass(frozen=True)
class SelectedAmongGraded:
    """As ``AmongGraded`` for a function that selects groups; one without a graded completion is never selected."""

    function: Callable[..., Any]

    def __call__(self, rewards_PG: Rewards) -> Bool[Array, " P"]:
        first_PG, _, counts_P = _graded_first(rewards_PG)
        selected_P = jnp.zeros(first_PG.shape[0], bool)
        for count in range(1, first_PG.shape[1] + 1):
            selected_P = jnp.where(counts_P == count, self.function(first_PG[:, :count]), selected_P)
        return selected_P


def _graded_first(rewards_PG: Rewards) -> tuple[Array, Array, Array]:
    """Rewards [P, G] with NaN, as 0, behind the others of a group; the places they came from; how many are graded."""
    rewards_PG = jnp.asarray(rewards_PG)
    missing_PG = jnp.isnan(rewards_PG)
    order_PG = jnp.argsort(missing_PG, axis=1, stable=True)
    first_PG = jnp.take_along_axis(jnp.where(missing_PG, 0, rewards_PG), order_PG, axis=1)
    return first_PG, order_PG, (~missing_PG).sum(axis=1)
