"""The programs of a run, compiled for a mesh whose devices needn't exist on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.generation.calls import sampling_call
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.model import Model
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import Corrected, PolicyBatch, TokenBatch, token_batch
from reasoning.training.program import build_step
from reasoning.training.step import LossFunction


def token_batch_shapes(mesh: Mesh, batch: int, length: int) -> TokenBatch:
    """The shapes of a batch of token rows, split over the data-parallel devices."""
    row = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    rows = {name: row for name in ("tokens", "positions", "segments", "loss_mask")}
    return _with_row_shardings(mesh, jax.eval_shape(lambda rows: token_batch(rows, token_mean, length), rows))


def policy_batch_shapes(
    mesh: Mesh,
    batch: int,
    length: int,
    *,
    old: bool,
    reference: bool,
    kl_weights: bool = False,
    corrected: bool = False,
) -> PolicyBatch:
    """The shapes of a batch of sampled rows: of one minibatch, where a rollout is split into several.

    With old and reference log-probabilities where the loss reads them, as with several updates or minibatches, and
    weights of its own for KL where the stage selects its groups, and importance weights where it corrects.
    """
    values = _with_row_shardings(mesh, jax.ShapeDtypeStruct((batch, length), jnp.float32))
    return PolicyBatch(
        rows=token_batch_shapes(mesh, batch, length),
        advantages=values,
        sampler_log_probs=values,
        old_log_probs=values if old else None,
        reference_log_probs=values if reference else None,
        kl_weights=values if kl_weights else None,
        corrected=Corrected(values, values) if corrected else None,
    )


def _with_row_shardings(mesh: Mesh, shapes: Any) -> Any:
    """Shapes with the sharding of rows."""
    return meshes.with_shardings(shapes, jax.tree.map(lambda _: meshes.row_sharding(mesh), shapes))


@contextmanager
def no_compilation_cache() -> Iterator[None]:
    """Keeps JAX's persistent cache out of it: programs for absent devices can be written there but never read back."""
    used = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", used)
        compilation_cache.reset_cache()


def lower_step(
    model: Model,
    mesh: Mesh,
    loss_fn: LossFunction,
    optimizer: optax.GradientTransformation,
    batch: Any,
    microbatches: int,
    frozen: Model | None = None,
) -> jax.stages.Lowered:
    """The step that a stage with these settings would run, built by the same call, lowered for ``mesh``.

    ``batch`` holds shapes with shardings, ``frozen`` is the model of a teacher.
    """
    program = build_step(model, mesh, loss_fn, optimizer, microbatches, frozen)
    return program.step.lower(program.abstract, program.frozen, batch)


def lower_sampling(
    model: Model, mesh: Mesh, settings: SamplerSettings, prompts: int, length: int
) -> jax.stages.Lowered:
    """The engine's program for ``prompts`` prompts of each process, padded to ``length``, lowered for ``mesh``."""
    function, arguments = sampling_call(model, mesh, settings, prompts, length)
    return function.lower(*arguments)
