"""The one train step: gradients over microbatches, an optimizer update, and a guard against non-finite ones."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.models.parameters import Params
from reasoning.training.guard import SpikeGuard, judge
from reasoning.training.optimizers import learning_rate
from reasoning.training.state import TrainState


@struct.dataclass
class Spread:
    """Values per token [B, T], and 1 where one counts: a metric of which smallest, largest and percentiles are told.

    Unlike sums these don't add up over microbatches, so a step takes them of the whole batch.
    """

    values: jax.Array
    counted: jax.Array


Sums = dict[str, Any]
"""Metrics by name: ``(sum, count)`` of what adds up, or a ``Spread``."""

AfterUpdate = Callable[[Params, Any], Params]
"""From updated parameters and a loss's ``updates``, added over microbatches, to the parameters of the next step."""


class LossFunction(Protocol):
    """A composed loss: ``(loss, sums, updates)``; all three add up over microbatches.

    ``sums`` are metrics as ``{name: (sum, count)}``, a ``Spread`` being put together; ``updates`` is a pytree from
    which ``after_update`` changes what no gradient does, such as a router's bias.
    """

    def __call__(self, params: Params, frozen: Any, batch: Any) -> tuple[jax.Array, Sums, Any]: ...


@struct.dataclass
class StepShardings:
    """Where the three arguments of a step live: pytrees of shardings, or one sharding for a whole argument."""

    state: Any = struct.field(pytree_node=False)
    frozen: Any = struct.field(pytree_node=False)
    batch: Any = struct.field(pytree_node=False)


def gradient_only(params: Params, updates: Any) -> Params:
    """The ``after_update`` of losses that change nothing but by their gradient."""
    return params


def split_rows(batch: Any, parts: int, devices: int = 1) -> Any:
    """Microbatches on a new first axis. Of each of the ``devices`` that hold a share of the rows each takes some that
    stand together, so nothing moves between devices, and replies to one prompt stay together.
    """

    def split(leaf: jax.Array) -> jax.Array:
        if leaf.shape[0] % parts:
            raise InputError(f"{parts} microbatches do not divide a batch of {leaf.shape[0]} rows; change one of them")
        held = leaf.reshape(math.gcd(devices, leaf.shape[0] // parts), parts, -1, *leaf.shape[1:])
        return held.swapaxes(0, 1).reshape(parts, -1, *leaf.shape[1:])

    return jax.tree.map(split, batch)


def gradients(
    loss_fn: LossFunction, params: Params, frozen: Any, batch: Any, microbatches: int, devices: int = 1
) -> tuple[Params, jax.Array, Sums, Any]:
    """Gradient, loss, sums and updates of a batch, added over microbatches, whose spreads are put together.

    Exact whatever the padding, since the weights in the batch carry the global denominator already.
    """

    def one(part: Any) -> tuple[tuple[Params, jax.Array, Sums, Any], Sums]:
        def value(params: Params) -> tuple[jax.Array, tuple[Sums, Any]]:
            loss, sums, updates = loss_fn(params, frozen, part)
            return loss, (sums, updates)

        (loss, (sums, updates)), gradient = jax.value_and_grad(value, has_aux=True)(params)
        spreads = {name: metric for name, metric in sums.items() if isinstance(metric, Spread)}
        return (gradient, loss, {name: sums[name] for name in sums if name not in spreads}, updates), spreads

    if microbatches == 1:
        (gradient, loss, sums, updates), spreads = one(batch)
        return gradient, loss, sums | spreads, updates
    parts = split_rows(batch, microbatches, devices)
    # The scan starts from zeros and not from the first part, so that the gradient is compiled once.
    shapes, _ = jax.eval_shape(one, jax.tree.map(lambda leaf: leaf[0], parts))
    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: Any, part: Any) -> tuple[Any, Sums]:
        added, spreads = one(part)
        return jax.tree.map(jnp.add, total, added), spreads

    (gradient, loss, sums, updates), spreads = jax.lax.scan(add, start, parts)
    return gradient, loss, sums | spreads, updates


def spread_metrics(name: str, spread: Spread) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Smallest, largest, mean, and the percentiles 1 and 99 of a spread, as numpy interpolates them."""
    values, counted = spread.values.reshape(-1), spread.counted.reshape(-1) > 0
    count = jnp.sum(counted)
    # What doesn't count comes last.
    order = jnp.sort(jnp.where(counted, values, jnp.inf))
    places = jnp.array([0.0, 0.01, 0.99, 1.0]) * jnp.maximum(count - 1, 0)
    below, above = order[jnp.floor(places).astype(jnp.int32)], order[jnp.ceil(places).astype(jnp.int32)]
    found = jnp.where(below == above, below, below + (places - jnp.floor(places)) * (above - below))
    any_counts = (count > 0).astype(jnp.float32)
    ends = {end: (found[at], any_counts) for at, end in enumerate(("min", "p01", "p99", "max"))}
    mean = (jnp.sum(jnp.where(counted, values, 0.0)), count.astype(jnp.float32))
    return {f"{name}/{end}": metric for end, metric in {**ends, "mean": mean}.items()}


def _as_sums(metrics: Sums) -> Sums:
    """Metrics as ``(sum, count)`` all of them."""
    added: Sums = {}
    for name, metric in metrics.items():
        added |= spread_metrics(name, metric) if isinstance(metric, Spread) else {name: metric}
    return added


def make_step(
    loss_fn: LossFunction,
    optimizer: optax.GradientTransformation,
    shardings: StepShardings,
    *,
    after_update: AfterUpdate = gradient_only,
    microbatches: int = 1,
    guard: SpikeGuard | None = None,
) -> jax.stages.Wrapped:
    """The jitted ``step(state, frozen, batch) -> (state, metrics)`` that every learning stage uses.

    ``frozen`` (reference, teacher, a LoRA's base) is an argument, since arrays closed over become constants of the
    program. The state is donated. A loss or gradient that isn't finite changes nothing but the counters of the state,
    and neither does one that ``guard`` calls a spike, for which the state must have been made. ``metrics`` are
    ``{name: (sum, count)}``; the loss is a sum over the whole batch by its weights, so its count is 1.
    ``learning_rate``, the update's, is among them where the optimizer's state tells it.
    """

    mesh = shardings.batch.mesh if isinstance(shardings.batch, NamedSharding) else None
    devices = meshes.data_parallel_size(mesh) if isinstance(mesh, Mesh) else 1

    def step(state: TrainState, frozen: Any, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        gradient, loss, sums, updates = gradients(loss_fn, state.params, frozen, batch, microbatches, devices)
        norm = optax.tree.norm(gradient)
        judged = judge(guard, state.seen, loss, norm)
        taken = jnp.isfinite(loss) & jnp.isfinite(norm)
        taken = taken if guard is None else taken & ~judged.spike
        change, moments = optimizer.update(gradient, state.optimizer, state.params)
        rate = learning_rate(moments)
        updated: Any = optax.apply_updates(state.params, change)
        new, old = (
            (after_update(updated, updates), moments, judged.after),
            (state.params, state.optimizer, state.seen),
        )
        # Chosen leaf by leaf and not by ``cond``: both sides are there anyway, and the state stays donated.
        params, moments, seen = jax.tree.map(lambda fresh, kept: jnp.where(taken, fresh, kept), new, old)
        state = TrainState(
            step=state.step + 1,
            params=params,
            optimizer=moments,
            skipped=jnp.where(taken, 0, state.skipped + 1),
            seen=seen,
        )
        one = jnp.ones(())
        sums = _as_sums(sums) | {"loss": (loss, one), "grad_norm": (norm, one), "skipped": (state.skipped, one)}
        sums |= judged.metrics
        return state, sums if rate is None else sums | {"learning_rate": (rate, one)}

    # The state stays where it lives from step to step; frozen trees and batches come as their makers placed them.
    # Metrics are scalars, whole on every device.
    return jax.jit(
        step,
        in_shardings=(shardings.state, shardings.frozen, shardings.batch),
        out_shardings=(shardings.state, None),
        donate_argnums=0,
    )
