"""How completions lie in a batch changes neither GRPO's loss nor its gradient: padding, packing, order, microbatches.

Shapes: B rows, T time.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from drawn import drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.models.config import Stack
from reasoning.models.model import build_model
from reasoning.objectives.advantages import group_normalized
from reasoning.objectives.aggregation import constant_length, sequence_mean, token_mean
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.training.batches import PolicyBatch, TokenBatch
from reasoning.training.losses import policy
from reasoning.training.policy_rows import assemble, every_group
from reasoning.training.step import Spread, gradients

pytestmark = pytest.mark.slow

CONTEXT, NEW, GROUP = 80, three_steps.NEW, three_steps.GROUP
MODEL = build_model(replace(three_steps.CONFIG, stacks=(Stack(1),), context=CONTEXT))
PARAMS = drawn(MODEL.shapes, 0, 0.2)
LOSS = policy(MODEL, loss=Clipped(0.1, 0.2), kl=k3, kl_coefficient=0.05, temperature=0.9)
each_aggregation = pytest.mark.parametrize("aggregate", [token_mean, sequence_mean, constant_length])


def batch_of(aggregate: Any, length: int | None = None) -> PolicyBatch:
    """Sixteen completions of four prompts, off-policy, with a KL term; ``length``: so many places a row."""
    rows, rewards = three_steps.rollout_rows()
    if length is not None:
        rows = {name: np.pad(values, ((0, 0), (0, length - values.shape[1]))) for name, values in rows.items()}
    settings = {"advantage": group_normalized, "select": every_group, "aggregate": aggregate, "length": NEW}
    batch = jax.jit(partial(assemble, samples=GROUP, **settings))(rows, rewards)
    generator = np.random.default_rng(3)
    noise = generator.normal(-3, 0.5, (2, *batch.advantages.shape[:1], CONTEXT)).astype(np.float32)
    old, reference = noise[..., : batch.advantages.shape[1]]
    return replace(batch, old_log_probs=jnp.asarray(old), reference_log_probs=jnp.asarray(reference))


@partial(jax.jit, static_argnames="microbatches")
def computed(batch: PolicyBatch, microbatches: int = 1) -> tuple[Any, jax.Array, Any]:
    """Gradient, loss and sums, as the train step makes them."""
    return gradients(LOSS, PARAMS, {}, batch, microbatches)[:3]


def counted(sums: Mapping[str, Any]) -> dict[str, Any]:
    """Sums, and of values per token those that count, whichever row they are in."""
    return {
        name: np.sort(np.asarray(each.values)[np.asarray(each.counted) > 0]) if isinstance(each, Spread) else each
        for name, each in sums.items()
    }


def check_equal(one: tuple[Any, jax.Array, Any], other: tuple[Any, jax.Array, Any]) -> None:
    """To rounding, relative to the size of the gradient."""
    (gradient, loss, sums), (other_gradient, other_loss, other_sums) = one, other
    np.testing.assert_allclose(loss, other_loss, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), counted(sums), counted(other_sums))
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
    assert norm > 0.01
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6 * norm), gradient, other_gradient)


@each_aggregation
@pytest.mark.parametrize("length", [49, CONTEXT])
def test_rows_padded_longer_give_the_same_loss_and_gradient(aggregate: Any, length: int):
    check_equal(computed(batch_of(aggregate)), computed(batch_of(aggregate, length)))


@each_aggregation
@pytest.mark.parametrize("microbatches", [2, 8, 16])
def test_microbatches_give_the_same_loss_and_gradient(aggregate: Any, microbatches: int):
    batch = batch_of(aggregate)
    check_equal(computed(batch), computed(batch, microbatches))


ORDERS = st.permutations(range(16))


@each_aggregation
@given(order=ORDERS, microbatches=st.sampled_from([1, 4]))
@settings(max_examples=10)
def test_the_order_of_rows_gives_the_same_loss_and_gradient(aggregate: Any, order: list[int], microbatches: int):
    batch = batch_of(aggregate)
    moved = jax.tree.map(lambda leaf: leaf[jnp.asarray(order)], batch)
    check_equal(computed(batch), computed(moved, microbatches))


def packed(batch: PolicyBatch) -> PolicyBatch:
    """The same completions, the second half of the rows behind the first half, each a segment of its own."""
    half = len(batch.advantages) // 2
    segments = batch.rows.segments
    second = jnp.where(segments[half:] > 0, 2, 0)
    rows = {
        name: jnp.concatenate([getattr(batch.rows, name)[:half], getattr(batch.rows, name)[half:]], axis=1)
        for name in ("tokens", "positions", "targets", "mask", "weights")
    }
    rows["segments"] = jnp.concatenate([segments[:half], second], axis=1)
    joined = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf[:half], leaf[half:]], axis=1),
        (batch.advantages, batch.sampler_log_probs, batch.old_log_probs, batch.reference_log_probs),
    )
    return PolicyBatch(TokenBatch(**rows), *joined)


@each_aggregation
@pytest.mark.parametrize("microbatches", [1, 4])
def test_completions_packed_two_to_a_row_give_the_same_loss_and_gradient(aggregate: Any, microbatches: int):
    batch = batch_of(aggregate)
    check_equal(computed(batch), computed(packed(batch), microbatches))


@each_aggregation
def test_a_weight_that_is_off_by_a_tenth_would_be_seen(aggregate: Any):
    batch = batch_of(aggregate)
    off = replace(batch, rows=replace(batch.rows, weights=batch.rows.weights.at[3].multiply(1.1)))
    with pytest.raises(AssertionError):
        check_equal(computed(batch), computed(off))


def test_means_of_microbatches_would_not_have_been_exact():
    """What users of other trainers found: weights made from each microbatch alone change the loss."""
    batch = batch_of(token_mean)
    parts = [jax.tree.map(lambda leaf, start=start: leaf[start::2], batch) for start in (0, 1)]
    own = [replace(part, rows=replace(part.rows, weights=token_mean(part.rows.mask, NEW) / 2)) for part in parts]
    naive = sum(float(computed(part)[1]) for part in own)
    assert abs(naive - float(computed(batch)[1])) > 1e-4
