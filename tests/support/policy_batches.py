"""Batches of rollouts for the tests of losses, and the papers' weights of their tokens.

Shapes: B rows, T time, V vocabulary.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import full_softmax
import jax
import jax.numpy as jnp
import numpy as np
import three_steps
from batched import assemble
from drawn import drawn

from reasoning.models.config import Stack
from reasoning.models.model import build_model
from reasoning.objectives.advantages import group_mean
from reasoning.training.batches import PolicyBatch
from reasoning.training.policy_rows import every_group

MODEL = build_model(replace(three_steps.CONFIG, stacks=(Stack(1),)))
GROUP, NEW = three_steps.GROUP, three_steps.NEW


def parameters() -> Any:
    """The model's."""
    return drawn(MODEL.shapes, 0, 0.2)


def on_device(rows: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value) for name, value in rows.items()}


def weights_by_formula(name: str, mask: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The weights of the papers' sums, one row and one token at a time; a completion is a segment with tokens."""
    weights = np.zeros(mask.shape)
    learnt = list(zip(*np.nonzero(mask == 1), strict=True))
    sizes = Counter((row, segments[row, place]) for row, place in learnt)
    for row, place in learnt:
        weights[row, place] = {
            "token_mean": 1 / len(learnt),  # DAPO, eq. 12
            "sequence_mean": 1 / (len(sizes) * sizes[row, segments[row, place]]),  # GRPO, eq. 3
            "constant_length": 1 / (len(mask) * NEW),  # Dr. GRPO, section 3.2
        }[name]
    return weights


def rollouts(aggregate: Any, advantage: Any = group_mean) -> PolicyBatch:
    """Sixteen completions of four prompts, of all lengths from 1 to 24; one group's rewards are all equal."""
    rows, rewards = three_steps.rollout_rows()
    return assemble(
        on_device(rows),
        jnp.asarray(rewards),
        samples=GROUP,
        advantage=advantage,
        select=every_group,
        aggregate=aggregate,
        length=NEW,
    )


def off_policy(params: Any, aggregate: Any, temperature: float) -> tuple[PolicyBatch, np.ndarray]:
    """Rollouts of another policy than ``params``, with advantages of both signs, and the log-probabilities now."""
    batch = rollouts(aggregate)
    log_probs = full_softmax.log_probs_BTV(MODEL, params, batch.rows, temperature)
    picked = full_softmax.picked_BT(log_probs, batch.rows)
    generator = np.random.default_rng(5)
    old = picked + generator.normal(0, 0.4, picked.shape)
    reference = picked + generator.normal(0, 0.5, picked.shape)
    advantages = generator.normal(0, 1, picked.shape)
    batch = replace(
        batch,
        advantages=jnp.asarray(advantages, jnp.float32),
        old_log_probs=jnp.asarray(old, jnp.float32),
        reference_log_probs=jnp.asarray(reference, jnp.float32),
    )
    return batch, log_probs
