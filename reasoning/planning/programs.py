"""The train steps of a run as compiled programs for a mesh that needn't exist on this machine."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.models.model import Model
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import PolicyBatch, TokenBatch, token_batch
from reasoning.training.state import abstract_state, state_shapes, state_shardings
from reasoning.training.step import LossFunction, StepShardings, make_step


def token_batch_shapes(mesh: Mesh, batch: int, length: int) -> TokenBatch:
    """The shapes of a batch of token rows, split over the data-parallel devices."""
    row = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    rows = {name: row for name in ("tokens", "positions", "segments", "loss_mask")}
    return placed(mesh, jax.eval_shape(lambda rows: token_batch(rows, token_mean, length), rows))


def policy_batch_shapes(mesh: Mesh, batch: int, length: int, *, old: bool, reference: bool) -> PolicyBatch:
    """The shapes of a batch of sampled rows, with old and reference log-probabilities where the loss reads them."""
    values = jax.ShapeDtypeStruct((batch, length), jnp.float32)
    return PolicyBatch(
        rows=token_batch_shapes(mesh, batch, length),
        advantages=placed(mesh, values),
        old_log_probs=placed(mesh, values) if old else None,
        reference_log_probs=placed(mesh, values) if reference else None,
    )


def placed(mesh: Mesh, shapes: Any) -> Any:
    """Shapes with the sharding of rows."""
    split = meshes.rows(mesh)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=split), shapes)


def compile_step(
    model: Model,
    mesh: Mesh,
    loss_fn: LossFunction,
    optimizer: optax.GradientTransformation,
    batch: Any,
    microbatches: int = 1,
) -> jax.stages.Compiled:
    """The very step that training would run, by the same ``make_step`` call, compiled for ``mesh``."""
    shardings = state_shardings(model, mesh, optimizer, {})
    places = StepShardings(shardings, meshes.replicated(mesh), meshes.rows(mesh))
    step = make_step(loss_fn, optimizer, places, microbatches=microbatches)
    state = abstract_state(state_shapes(model, optimizer, {}), shardings)
    return step.lower(state, {}, batch).compile()
