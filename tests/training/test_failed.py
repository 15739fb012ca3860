"""What is kept of a failed step comes back as it was: records, minibatches, and numbers that aren't finite."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, replicated, row_sharding, with_shardings
from reasoning.training.batches import Corrected, PolicyBatch, TokenBatch
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.failed import FailedStep, keep_failed, read_failed, told_of_failed
from reasoning.training.state import new_state

MESH = build_mesh(MeshShape())


def tokens(seed: int) -> TokenBatch:
    values = jax.random.normal(jax.random.key(seed), (8, 4))
    return TokenBatch(
        *(jnp.asarray(values * place, jnp.int32) for place in range(4)), values, values.at[0, 0].set(jnp.nan)
    )


def replies(seed: int, corrected: bool) -> PolicyBatch:
    rows = tokens(seed)
    weights = Corrected(rows.weights, rows.mask) if corrected else None
    rows = replace(rows, room=seed)
    return PolicyBatch(rows, rows.mask, rows.mask, None, rows.weights, corrected=weights)


@pytest.mark.parametrize("batch", [replace(tokens(0), room=3), (replies(1, True), replies(2, False)), jnp.ones((8, 2))])
def test_a_batch_comes_back_as_it_was(tmp_path: Path, batch: Any):
    state = new_state({"w": jnp.arange(3.0)}, optax.adam(0.1))
    batch = jax.device_put(batch, row_sharding(MESH))
    metrics = {"loss": math.nan, "grad_norm": 0.1 + 0.2, "skipped": 3.0}
    place = keep_failed(Checkpointer(tmp_path, 1), FailedStep(7, (1, 2), metrics, state, batch))
    shapes = jax.eval_shape(lambda: state)
    abstract = with_shardings(shapes, jax.tree.map(lambda _: replicated(MESH), shapes))
    found = read_failed(place, abstract, MESH)
    assert jax.tree.structure(found.batch) == jax.tree.structure(batch)
    for one, other in zip(jax.tree.leaves((found.batch, found.state)), jax.tree.leaves((batch, state)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (found.step, found.key) == (7, (1, 2)) and repr(sorted(found.metrics.items())) == repr(
        sorted(metrics.items())
    )


def test_another_checkpoint_is_no_failed_step(tmp_path: Path):
    Checkpointer(tmp_path).save(3, {"w": jnp.ones(2)}, {"source": {}})
    with pytest.raises(InputError, match="step_00000003 holds no failed step"):
        told_of_failed(tmp_path / "step_00000003")
