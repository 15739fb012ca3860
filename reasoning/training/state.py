"""What training carries from step to step, and where its arrays live on a mesh."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from reasoning.core.mesh import replicated
from reasoning.models.model import LanguageModel, parameter_shardings, trained

Params = dict[str, Any]


@struct.dataclass
class TrainState:
    """Everything a step reads and writes; saved whole, so that a resumed run gives the same bits.

    ``params`` are those that train: of a model with LoRA its adapters alone.
    ``step`` counts batches seen, ``skipped`` the non-finite updates in a row just before it. ``extra`` is what a loss
    keeps beside parameters (expert biases, adaptive coefficients). ``key`` is the stage's; a step folds ``step`` in.
    """

    step: jax.Array
    params: Params
    optimizer: Any
    extra: Any
    key: jax.Array
    skipped: jax.Array


def new_state(params: Params, optimizer: optax.GradientTransformation, key: jax.Array, extra: Any) -> TrainState:
    """The state before the first step."""
    # Two zeros, not one used twice: a step donates its state, and no buffer may be donated twice.
    step, skipped = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    return TrainState(step, params, optimizer.init(params), extra, key, skipped)


def state_shapes(model: LanguageModel, optimizer: optax.GradientTransformation, extra: Any) -> TrainState:
    """Shapes of a state, without allocating."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(
        lambda params, key: new_state(params, optimizer, key, extra), trained(model, model.shapes), key
    )


def state_shardings(
    model: LanguageModel, mesh: Mesh, optimizer: optax.GradientTransformation, extra: Any
) -> TrainState:
    """Shardings of a state: optimizer moments lie as their parameters do, everything else is whole on each device."""
    whole, params = replicated(mesh), trained(model, parameter_shardings(model, mesh))
    shapes = state_shapes(model, optimizer, extra)
    moments = optax.tree.map_params(
        optimizer,
        lambda _, place: place,
        shapes.optimizer,
        params,
        transform_non_params=lambda _: whole,
    )
    return replace(jax.tree.map(lambda _: whole, shapes), params=params, optimizer=moments)
