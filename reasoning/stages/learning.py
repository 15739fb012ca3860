"""What all learning stages do alike: from an objective and a source of batches to a finished checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import optax

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Outcome
from reasoning.core.prng import stage_key
from reasoning.data.tokenizer import Tokenizer
from reasoning.models.decoder import Params
from reasoning.models.model import Model
from reasoning.stages.context import Context
from reasoning.stages.exam import Exam, ask, exam_engine
from reasoning.stages.saved import save
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.fit import Loop, Source, Step, fit
from reasoning.training.metrics import MetricsLog
from reasoning.training.state import TrainState, abstract_state, new_state, state_shapes, state_shardings
from reasoning.training.step import LossFunction, StepShardings, make_step


@dataclass(frozen=True)
class Learner:
    """What a stage brings to ``learn``: a model, an objective, an optimizer, and how long it trains."""

    name: str
    model: Model
    tokenizer: Tokenizer
    optimizer: optax.GradientTransformation
    steps: int
    updates: int
    microbatches: int
    loss_fn: LossFunction
    skips_allowed: int
    start: Callable[[], Params]
    probe: Exam | None
    probe_every: int
    shown: tuple[str, ...]
    tokens_per_step: int


def learn(learner: Learner, source: Source, out: Path, context: Context) -> Outcome:
    """Trains to the end, from where an earlier run was interrupted if one was, and leaves a checkpoint."""
    model, mesh, optimizer = learner.model, context.mesh, learner.optimizer
    shardings = state_shardings(model, mesh, optimizer, {})
    places = StepShardings(shardings, meshes.replicated(mesh), meshes.rows(mesh))
    step = make_step(learner.loss_fn, optimizer, places, microbatches=learner.microbatches)

    def initial() -> TrainState:
        key = stage_key(context.seed, learner.name)
        build = jax.jit(lambda params, key: new_state(params, optimizer, key, {}), out_shardings=shardings)
        return build(learner.start(), key)

    first = jax.process_index() == 0
    log = MetricsLog(out, first)
    loop = Loop(
        name=learner.name,
        steps=learner.steps,
        checkpointer=Checkpointer(out / "checkpoints", context.keep, context.keep_every, context.warn),
        checkpoint_every=context.checkpoint_every,
        log=log,
        report=context.report,
        stop=context.stop,
        skips_allowed=learner.skips_allowed,
        probe=probing(learner, context),
        probe_every=learner.probe_every if learner.probe is not None else 0,
        shown=learner.shown,
        tokens_per_step=learner.tokens_per_step,
    )
    abstract = abstract_state(state_shapes(model, optimizer, {}), shardings)
    state = fit(initial, abstract, repeated(step, learner.updates), {}, source, loop)
    return save(out, model, state.params, learner.tokenizer, {})


def repeated(step: Step, times: int) -> Step:
    """A step that updates several times on one batch, and gives the last update's metrics."""

    def several(state: TrainState, frozen: Any, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        metrics: dict[str, Any] = {}
        for _ in range(times):
            state, metrics = step(state, frozen, batch)
        return state, metrics

    return several


def probing(learner: Learner, context: Context) -> Callable[[TrainState], Mapping[str, float]]:
    """The function that asks the probe's held-out problems and gives the mean of each score."""
    exam = learner.probe
    if exam is None:
        return lambda state: {}
    engine = exam_engine(exam, learner.model, context.mesh, learner.tokenizer, exam.samples)
    key = stage_key(context.seed, f"{learner.name}/probe")

    def probe(state: TrainState) -> Mapping[str, float]:
        answers = ask(exam, engine, engine.publish(state.params), learner.tokenizer, key, exam.temperature)
        means = {f"probe/{name}": float(values.mean()) for name, values in answers.scores.items()}
        return means | {"probe/mean_length": float(answers.lengths.mean())}

    return probe
