"""The one place that builds a learning stage's programs, so that what is planned for a pod is what runs on it.

All of them are remembered: stages that ask for the same program get the very same one, compiled once a shape of batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeVar

import jax
import optax
from jax.sharding import Mesh

from reasoning.core.hashes import check_hashes
from reasoning.core.mesh import row_sharding, with_shardings
from reasoning.kernels.backends import Choice
from reasoning.kernels.token_log_probs import TokenLogProbs
from reasoning.models.lora import with_adapters
from reasoning.models.model import LanguageModel, Model, frozen_shapes
from reasoning.models.parameters import Params
from reasoning.objectives.correction import Correction
from reasoning.training.batches import (
    Aggregation,
    LabelledBatch,
    PolicyBatch,
    TokenBatch,
    labelled_batch,
    token_batch,
)
from reasoning.training.correcting import correct
from reasoning.training.guard import SpikeGuard
from reasoning.training.policy_rows import Advantage, Selection, assemble, assemble_minibatches
from reasoning.training.shared_prompts import ReplyGroups
from reasoning.training.state import TrainState, state_shapes, state_shardings
from reasoning.training.step import LossFunction, StepShardings, Sums, gradient_only, make_step
from reasoning.training.token_scores import score

_Made = TypeVar("_Made", TokenBatch, LabelledBatch)

_REMEMBERED = 32
"""How many programs of a kind are kept for the next stage that asks."""


@dataclass(frozen=True)
class StepProgram:
    """A jitted ``step(state, frozen, batch) -> (state, metrics)`` with the state that it reads and writes.

    ``shardings`` say where the state's arrays live; ``abstract`` are its shapes there, which a checkpoint is restored
    onto and a program is compiled for; ``frozen`` are those of the frozen tree.
    """

    step: jax.stages.Wrapped
    shardings: TrainState
    abstract: TrainState
    frozen: Any


@dataclass(frozen=True)
class _Optimizer:
    """An optimizer, equal to every other with the same update: settings that differ are arrays in its state."""

    update: Callable
    whole: optax.GradientTransformation = field(compare=False)


def build_step(
    model: LanguageModel,
    mesh: Mesh,
    loss_fn: LossFunction,
    optimizer: optax.GradientTransformation,
    microbatches: int,
    frozen: LanguageModel | None = None,
    guard: SpikeGuard | None = None,
) -> StepProgram:
    """The step of ``loss_fn`` on ``mesh``, whose devices may be real or a topology's; allocates nothing.

    The state lies as the model's rules say, the parameters of a ``frozen`` model (a teacher) as its own do, and batches
    are split by rows. Of a model with LoRA the adapters train and its base is frozen, beside what else is
    (``constants``). Calls that differ at most in what the optimizer's state starts from give the same step.
    Raises InputError, with the numbers, where a parameter doesn't divide over the mesh.
    """
    # Models, meshes, losses and updates are equal only where they compute the same, so they make the key of the cache.
    return _step_program(model, mesh, loss_fn, _Optimizer(optimizer.update, optimizer), microbatches, frozen, guard)


@lru_cache(_REMEMBERED)
def _step_program(
    model: LanguageModel,
    mesh: Mesh,
    loss_fn: LossFunction,
    optimizer: _Optimizer,
    microbatches: int,
    frozen: LanguageModel | None,
    guard: SpikeGuard | None,
) -> StepProgram:
    guarded = guard is not None
    shardings = state_shardings(model, mesh, optimizer.whole, guarded)
    held = {} if frozen is None else frozen_shapes(frozen, mesh)
    after_update = partial(_rebalance, model)
    if isinstance(model, Model) and model.lora is not None:
        # The base is frozen whole, and routers' biases are part of it.
        loss_fn, after_update = _on_base(loss_fn), gradient_only
        held = constants(frozen_shapes(model, mesh), held)
    arguments = StepShardings(shardings, jax.tree.map(lambda shape: shape.sharding, held), row_sharding(mesh))
    step = make_step(
        loss_fn, optimizer.whole, arguments, after_update=after_update, microbatches=microbatches, guard=guard
    )
    return StepProgram(
        step,
        shardings,
        abstract=with_shardings(state_shapes(model, optimizer.whole, guarded), shardings),
        frozen=held,
    )


def constants(base: Params, beside: Any) -> dict[str, Any]:
    """What a step of a model with LoRA takes as ``frozen``: its ``frozen_params``, and what its loss reads beside.

    For arrays, shapes and shardings alike.
    """
    return {"base": base, "beside": beside}


def _on_base(loss_fn: LossFunction) -> LossFunction:
    """The loss of adapters, whose base is frozen."""

    def of_adapters(params: Params, frozen: Any, batch: Any) -> tuple[jax.Array, Sums, Any]:
        return loss_fn(with_adapters(frozen["base"], params), frozen["beside"], batch)

    return of_adapters


def _rebalance(model: LanguageModel, params: Params, updates: Any) -> Params:
    """Moves routers' biases by how many tokens of the whole batch each expert took, where the loss tells that."""
    return model.rebalance(params, updates["load"]) if "load" in updates else params


@lru_cache(_REMEMBERED)
def build_scoring(
    model: LanguageModel,
    mesh: Mesh,
    temperature: float,
    kernels: Choice = "auto",
    groups: ReplyGroups | None = None,
) -> Callable[[Params, TokenBatch], TokenLogProbs]:
    """The jitted pass that gives old or reference log-probabilities of sampled rows, as the loss reads them.

    With each token's entropy, which the same pass over the vocabulary gives: neither needs whole logits.
    """

    # The kernels of the loss and the temperature of the sampler, so that a ratio of unchanged parameters is 1.

    def scores(params: Params, batch: TokenBatch) -> TokenLogProbs:
        return score(model, params, batch, temperature, kernels, groups)

    return jax.jit(scores, out_shardings=row_sharding(mesh))


@lru_cache(_REMEMBERED)
def build_measuring(
    model: LanguageModel, loss_fn: LossFunction
) -> Callable[[Params, Any, TokenBatch | LabelledBatch], tuple[jax.Array, jax.Array]]:
    """The jitted pass that gives the loss of a batch without an update, and how many of its tokens count.

    Its arguments are those of the step of ``build_step`` with the same loss, the state's parameters first.
    """
    whole = _on_base(loss_fn) if isinstance(model, Model) and model.lora is not None else loss_fn

    def measured(params: Params, frozen: Any, batch: TokenBatch | LabelledBatch) -> tuple[jax.Array, jax.Array]:
        return whole(params, frozen, batch)[0], batch.mask.sum()

    return jax.jit(measured)


def build_assembling(
    mesh: Mesh,
    samples: int,
    advantage: Advantage,
    select: Selection,
    aggregate: Aggregation,
    length: int,
    kl_select: Selection | None = None,
) -> Callable[[dict[str, jax.Array], jax.Array], PolicyBatch]:
    """The jitted function from global rows and rewards to a batch, split by rows like its inputs.

    Raises InputError for a function that has no hash.
    """
    check_hashes(advantage=advantage, select=select, aggregate=aggregate, kl_select=kl_select)
    return _assembling(mesh, 0, samples, advantage, select, aggregate, length, kl_select)


@lru_cache(_REMEMBERED)
def _assembling(mesh: Mesh, parts: int, *settings: Any) -> Callable[..., Any]:
    """To a tuple of ``parts`` minibatches (0: one batch); ``settings`` are those of ``build_assembling``, in order."""
    names = ("samples", "advantage", "select", "aggregate", "length", "kl_select")
    build = partial(assemble_minibatches, parts=parts) if parts else assemble
    return jax.jit(partial(build, **dict(zip(names, settings, strict=True))), out_shardings=row_sharding(mesh))


def build_assembling_minibatches(
    mesh: Mesh,
    parts: int,
    samples: int,
    advantage: Advantage,
    select: Selection,
    aggregate: Aggregation,
    length: int,
    kl_select: Selection | None = None,
) -> Callable[[dict[str, jax.Array], jax.Array], tuple[PolicyBatch, ...]]:
    """As ``build_assembling``, to a tuple of ``parts`` minibatches."""
    check_hashes(advantage=advantage, select=select, aggregate=aggregate, kl_select=kl_select)
    return _assembling(mesh, parts, samples, advantage, select, aggregate, length, kl_select)


def build_correcting(
    mesh: Mesh, correction: Correction, aggregate: Aggregation, length: int
) -> Callable[[PolicyBatch, jax.Array], PolicyBatch]:
    """The jitted function from a batch and the trainer's log-probabilities to the corrected batch, split by rows.

    Raises InputError for a function that has no hash.
    """
    check_hashes(correction=correction, aggregate=aggregate)
    return _correcting(mesh, correction, aggregate, length)


@lru_cache(_REMEMBERED)
def _correcting(
    mesh: Mesh, correction: Correction, aggregate: Aggregation, length: int
) -> Callable[[PolicyBatch, jax.Array], PolicyBatch]:
    given = {"correction": correction, "aggregate": aggregate, "length": length}
    return jax.jit(partial(correct, **given), out_shardings=row_sharding(mesh))


def build_batching(mesh: Mesh, aggregate: Aggregation, length: int) -> Callable[[dict[str, jax.Array]], TokenBatch]:
    """The jitted function from global packed rows to a batch, split by rows like its inputs.

    Raises InputError for a function that has no hash.
    """
    check_hashes(aggregate=aggregate)
    return _batching(token_batch, mesh, aggregate, length)


def build_labelling(mesh: Mesh, aggregate: Aggregation, length: int) -> Callable[[dict[str, jax.Array]], LabelledBatch]:
    """As ``build_batching``, of rows with labels."""
    check_hashes(aggregate=aggregate)
    return _batching(labelled_batch, mesh, aggregate, length)


@lru_cache(_REMEMBERED)
def _batching(make: Callable[..., _Made], mesh: Mesh, aggregate: Aggregation, length: int) -> Callable[..., _Made]:
    return jax.jit(partial(make, aggregate=aggregate, length=length), out_shardings=row_sharding(mesh))
