"""What training carries from step to step, and where its arrays live on a mesh."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from reasoning.core.mesh import replicated
from reasoning.models.model import LanguageModel, parameter_shardings, trained
from reasoning.models.parameters import Params
from reasoning.training.guard import Seen, nothing_seen


@struct.dataclass
class TrainState:
    """Everything a step reads and writes; saved whole, so that a resumed run gives the same bits.

    ``params`` are those that train: of a model with LoRA its adapters alone. ``step`` counts batches seen, also those
    whose update was skipped; the optimizer counts in its own state the updates that were taken, and schedules follow
    that. ``skipped`` are the updates in a row just before it that were skipped, ``seen`` is what a ``SpikeGuard``
    remembers (None without one).
    """

    step: jax.Array
    params: Params
    optimizer: Any
    skipped: jax.Array
    seen: Seen | None = None


def new_state(params: Params, optimizer: optax.GradientTransformation, guarded: bool = False) -> TrainState:
    """The state before the first step; ``guarded`` by a ``SpikeGuard`` or not."""
    # Two zeros, not one used twice: a step donates its state, and no buffer may be donated twice.
    step, skipped = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    return TrainState(step, params, optimizer.init(params), skipped, nothing_seen() if guarded else None)


def state_shapes(model: LanguageModel, optimizer: optax.GradientTransformation, guarded: bool = False) -> TrainState:
    """Shapes of a state, without allocating."""
    return jax.eval_shape(lambda params: new_state(params, optimizer, guarded), trained(model, model.shapes))


def state_shardings(
    model: LanguageModel, mesh: Mesh, optimizer: optax.GradientTransformation, guarded: bool = False
) -> TrainState:
    """Shardings of a state: what an optimizer keeps for a parameter lies as that does, the rest whole on each device.

    An array is a parameter's where its path in the optimizer's state ends in the parameter's own. It may lack one of
    the parameter's axes, over which it is then a mean (Adafactor).
    """
    shapes, params = state_shapes(model, optimizer, guarded), trained(model, parameter_shardings(model, mesh))
    owners = {
        path: (shape.shape, place)
        for (path, shape), place in zip(
            jax.tree_util.tree_leaves_with_path(shapes.params), jax.tree.leaves(params), strict=True
        )
    }
    # By path and not by ``optax.tree.map_params``: that asks each ``init`` to bear a placeholder for the parameters,
    # which a user's own may not, and it knows no moments of other shapes.
    moments = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _place(owners, path, leaf.shape, replicated(mesh)), shapes.optimizer
    )
    whole = replicated(mesh)
    return replace(jax.tree.map(lambda _: whole, shapes), params=params, optimizer=moments)


def _place(
    owners: Mapping[tuple[Any, ...], tuple[tuple[int, ...], NamedSharding]],
    path: tuple[Any, ...],
    shape: tuple[int, ...],
    whole: NamedSharding,
) -> NamedSharding:
    """Where an array of an optimizer's state lies: as the parameter of the longest path that its own ends in."""
    ends = (path[start:] for start in range(len(path)))
    of, place = next((owners[end] for end in ends if end in owners), (None, whole))
    if of is None or of == shape:
        return place
    axes = (*place.spec, *(None,) * (len(of) - len(place.spec)))
    readings = [
        axes[:left_out] + axes[left_out + 1 :]
        for left_out in range(len(of))
        if of[:left_out] + of[left_out + 1 :] == shape
    ]
    # In a square matrix the shape doesn't tell which axis is gone; what the readings don't agree on stays whole.
    agreed = (names[0] if len(set(names)) == 1 else None for names in zip(*readings, strict=True))
    return NamedSharding(place.mesh, PartitionSpec(*agreed)) if readings else whole
