"""Advantages from the rewards of a group of completions of one prompt.

Legend: P prompts, G completions of each (the group).
"""

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
