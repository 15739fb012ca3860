"""The one place that builds a learning stage's step, so that what is planned for a pod is what runs on it."""

from dataclasses import dataclass

import jax
import optax
from jax.sharding import Mesh

from reasoning.core.mesh import replicated, rows
from reasoning.models.model import Model
from reasoning.training.state import TrainState, abstract_state, state_shapes, state_shardings
from reasoning.training.step import LossFunction, StepShardings, make_step


@dataclass(frozen=True)
class StepProgram:
    """A jitted ``step(state, frozen, batch) -> (state, metrics)`` with the state that it reads and writes.

    ``shardings`` say where the state's arrays live; ``abstract`` are its shapes there, which a checkpoint is restored
    onto and a program is compiled for.
    """

    step: jax.stages.Wrapped
    shardings: TrainState
    abstract: TrainState


def build_step(
    model: Model, mesh: Mesh, loss_fn: LossFunction, optimizer: optax.GradientTransformation, microbatches: int
) -> StepProgram:
    """The step of ``loss_fn`` on ``mesh``, whose devices may be real or a topology's; allocates nothing.

    The state lies as the model's rules say, frozen trees are whole on each device, batches are split by rows.
    Raises InputError, with the numbers, where a parameter doesn't divide over the mesh.
    """
    shardings = state_shardings(model, mesh, optimizer, {})
    places = StepShardings(shardings, replicated(mesh), rows(mesh))
    step = make_step(loss_fn, optimizer, places, microbatches=microbatches)
    return StepProgram(step, shardings, abstract_state(state_shapes(model, optimizer, {}), shardings))
