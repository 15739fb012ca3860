"""What all learning stages do alike: from an objective and a source of batches to a finished checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from operator import gt, lt
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import optax
from jax.sharding import Mesh

from reasoning.core.artifact import Outcome
from reasoning.core.jumps import Roles
from reasoning.core.prng import stage_key
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.exam import Answers, Candidate, Exam, ask, graded_mean, questions_of
from reasoning.models.flops import forward_flops, training_flops
from reasoning.models.model import Model
from reasoning.models.parameters import Params
from reasoning.rewards.reward import Reward, reward_name
from reasoning.rollouts.sampling import sampler_for
from reasoning.stages.checkpoint import BEST, CHECKPOINTS, FAILED, describe
from reasoning.stages.held_out import HeldOut
from reasoning.stages.settings import Learning, check_best
from reasoning.stages.stage import Context, is_stage, learns_from
from reasoning.stages.trainee import Trainee
from reasoning.tasks.problems import Problem
from reasoning.training.batches import Batch, rows_of
from reasoning.training.best import Best
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.diagnosis import Subject
from reasoning.training.explosion import explosion, explosion_words
from reasoning.training.fit import Loop, Probe, Source, Step
from reasoning.training.metrics import MetricsLog
from reasoning.training.optimizers import transformation_of
from reasoning.training.program import StepProgram, build_step
from reasoning.training.shared_prompts import ReplyGroups, computed_places
from reasoning.training.sinks import Several
from reasoning.training.state import TrainState, new_state
from reasoning.training.step import LossFunction
from reasoning.training.watching import Watch

_BY_LOSS = ("text", "examples", "teacher")
"""What a stage learns from whose loss is one of tokens that are to be predicted."""

_PROBED = 4
"""How many of a probe's problems are followed in ``probes.jsonl``, the first of them."""


@dataclass(frozen=True)
class Frozen:
    """Parameters that a loss reads and no step changes, a teacher's, and the model whose rules say where they lie."""

    model: Model
    params: Params


@dataclass(frozen=True)
class Learner:
    """What a stage brings to ``learn``: its settings, what it trains and an objective.

    A step updates ``updates`` times on one batch, or on each of its ``minibatches``. ``shown`` are the metrics of the
    progress line, ``groups`` the rows that the loss reads together.
    """

    settings: Learning
    trainee: Trainee
    tokenizer: Tokenizer
    loss_fn: LossFunction
    shown: tuple[str, ...]
    steps: int
    tokens_per_step: int
    updates: int = 1
    minibatches: int = 1
    frozen: Frozen | None = None
    held_out: HeldOut | None = None
    groups: ReplyGroups | None = None


def learn(learner: Learner, source: Source, out: Path, context: Context) -> Outcome:
    """Trains to the end, from where an earlier run was interrupted if one was, and leaves a checkpoint."""
    settings, trainee, frozen = learner.settings, learner.trainee, learner.frozen
    updates = learner.steps * learner.updates * learner.minibatches
    teacher = None if frozen is None else frozen.model
    optimizer, program = stage_step(settings, trainee.model, context.mesh, learner.loss_fn, updates, teacher)

    def initial() -> TrainState:
        new = partial(new_state, optimizer=optimizer, guarded=settings.guard is not None)
        build = jax.jit(new, out_shardings=program.shardings)
        return build(trainee.start())

    describe(out, trainee.merged_model, learner.tokenizer)
    constants = trainee.frozen_inputs({} if frozen is None else frozen.params)
    first = jax.process_index() == 0
    log = MetricsLog(out, first)
    loop = Loop(
        name=settings.name,
        steps=learner.steps,
        checkpointer=Checkpointer(out / CHECKPOINTS, context.keep, context.keep_every, context.warn),
        checkpoint_every=context.checkpoint_every,
        log=log,
        open_sink=partial(context.open_sink, settings.name) if first else lambda step: Several(),
        report=context.report,
        stop=context.stop,
        skips_allowed=settings.skips_allowed,
        probes=_probes(learner, constants, context, log),
        best=_best_of(learner, constants, out, context),
        shown=learner.shown,
        tokens_per_step=learner.tokens_per_step,
        flops=partial(_step_flops, learner),
        failed=Checkpointer(out / FAILED, 1, warn=context.warn),
        key=stage_key(context.seed, settings.name),
        look=_watch_of(learner, log, context).look,
        clock=context.clock,
        profile=context.profile,
    )
    steps = repeated(program.step, learner.updates, learner.minibatches)
    state, spent = context.train(initial, program.abstract, steps, constants, source, loop)
    results: dict[str, float] = {**asdict(spent), **_explosion(settings, out, state.params, context)}
    if loop.best is None:
        return trainee.save(out, state.params, learner.tokenizer, results)
    results |= {"best/step": loop.best.step, loop.best.metric: loop.best.value}
    return trainee.save(out, loop.best.params(state.params), learner.tokenizer, results)


def stage_step(
    settings: Learning, model: Model, mesh: Mesh, loss_fn: LossFunction, updates: int, teacher: Model | None
) -> tuple[optax.GradientTransformation, StepProgram]:
    """The optimizer of so many updates in all, and the step of a stage with these settings."""
    optimizer = transformation_of(settings.optimizer, updates)
    return optimizer, build_step(model, mesh, loss_fn, optimizer, settings.microbatches, teacher, settings.guard)


@runtime_checkable
class _Rewarding(Protocol):
    """Settings of a stage that learns from several rewards, one of which may say what is right."""

    rewards: tuple[Reward, ...]
    reward_weights: tuple[float, ...]
    correct: Reward | None


def _watch_of(learner: Learner, log: MetricsLog, context: Context) -> Watch:
    """What looks out for trouble while a stage trains."""
    settings, probe = learner.settings, learner.settings.probe
    by = learns_from(settings) if is_stage(settings) else "nothing"
    scores = () if probe is None else tuple(map(reward_name, probe.scores))
    roles = Roles(scores=scores)
    if isinstance(settings, _Rewarding):
        named = zip(map(reward_name, settings.rewards), settings.reward_weights, strict=True)
        correct = "" if settings.correct is None else reward_name(settings.correct)
        roles = Roles(frozenset(name for name, weight in named if not weight), correct, scores)
    subject = Subject(by in _BY_LOSS, by == "rewards", learner.steps, roles)
    return Watch(settings.name, subject, context.limits, log, context.warn)


def _explosion(settings: Learning, out: Path, params: Params, context: Context) -> dict[str, float]:
    """What the results say of a training that exploded, which is also warned of."""
    by_loss = is_stage(settings) and learns_from(settings) in _BY_LOSS
    found = explosion(out, params, by_loss)
    if found and jax.process_index() == 0:
        context.warn(f"stage {settings.name}: {explosion_words(found)}")
    return found


def _step_flops(learner: Learner, batch: Batch | tuple[Batch, ...]) -> int:
    """Operations of all updates on a batch, over all processes, padding included: it is computed like anything else.

    A frozen teacher reads the rows once an update.
    """
    total = 0
    for part in minibatches_of(batch):
        read = rows_of(part)
        rows, length = read.tokens.shape
        trainee, parts = learner.trainee, learner.settings.microbatches
        places = computed_places(learner.groups, trainee.model, rows, length, parts, read.room)
        own = training_flops(trainee.merged_model.config, trainee.adapters, places, length)
        teacher = 0 if learner.frozen is None else forward_flops(learner.frozen.model.config, places, length)
        total += own + teacher
    return learner.updates * total


def minibatches_of(batch: Batch | tuple[Batch, ...]) -> tuple[Batch, ...]:
    """What each gets an update of its own: a tuple's batches in turn, or the batch itself."""
    return batch if isinstance(batch, tuple) else (batch,)


def repeated(step: Step, times: int, minibatches: int = 1) -> Step:
    """A step that updates several times on one batch; its metrics are means over the updates, as in TRL.

    Of a batch that is a tuple of ``minibatches`` each gets an update, all of them ``times`` over. Only ``skipped``,
    which counts on from update to update, is the last one's, and what ends in ``/min`` or ``/max`` is that of all.
    """
    if times == minibatches == 1:
        return step

    def several(state: TrainState, frozen: Any, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        every: list[dict[str, Any]] = []
        for part in minibatches_of(batch) * times:
            state, sums = step(state, frozen, part)
            every.append(jax.device_get(sums))  # waits, as ``fit`` does after each step
        added = jax.tree.map(lambda *values: sum(values), *every)
        ends = {name: _end_of(name, every) for name in added if name.endswith(("/min", "/max"))}
        return state, added | ends | {"skipped": every[-1]["skipped"]}

    return several


def _end_of(name: str, every: list[dict[str, Any]]) -> tuple[float, float]:
    """The smallest or the largest of all updates' values, as a sum and a count."""
    values = [float(total) / float(count) for total, count in (sums[name] for sums in every) if count]
    best = max if name.endswith("/max") else min
    return (best(values), 1.0) if values else (0.0, 0.0)


def _probes(learner: Learner, constants: Any, context: Context, log: MetricsLog) -> tuple[Probe, ...]:
    """What is measured of the parameters now and then: the probe's problems, and the loss on held-out rows.

    The latter not where all of its steps are steps at which the loss is measured to tell the best.
    """
    settings, held_out = learner.settings, learner.held_out
    best = settings.best
    probes: list[Probe] = []
    if settings.probe is not None and settings.probe_every:
        probes.append(Probe(settings.probe_every, _probing(learner, settings.probe, context, log)))
    if held_out is not None and not (best is not None and best.exam is None and held_out.every % best.every == 0):
        measure = held_out.loss
        probes.append(Probe(held_out.every, lambda state, step: {"eval_loss": measure(state.params, constants)}))
    return tuple(probes)


def _probing(
    learner: Learner, exam: Exam, context: Context, log: MetricsLog
) -> Callable[[TrainState, int], Mapping[str, float]]:
    """The function that asks an exam's held-out problems and gives the mean of each score.

    The first reply to each of the first few goes to ``log``, so that one can read how answers change.
    """
    examine = _examining(learner, exam, context, "probe")
    followed = exam.problems.problems()[:_PROBED]

    def probe(state: TrainState, step: int) -> Mapping[str, float]:
        answers = examine(state)
        log.probe(step, (_probed(number, problem, answers) for number, problem in enumerate(followed)))
        means = {f"probe/{name}": graded_mean(values) for name, values in answers.scores.items()}
        return means | {"probe/mean_length": float(answers.lengths.mean())}

    return probe


def _best_of(learner: Learner, constants: Any, out: Path, context: Context) -> Best | None:
    """What finds and keeps the best parameters, where the stage asks for them and not for the last."""
    settings = learner.settings.best
    if settings is None:
        return None
    held_out, exam, score = learner.held_out, settings.exam, settings.score
    check_best(learner.settings, 0 if held_out is None else len(held_out.rows))
    place = partial(Best, folder=out / BEST, every=settings.every, remembered=context.keep + 1)
    if exam is not None and score is not None:
        name, examine = reward_name(score), _examining(learner, exam, context, "best")
        return place(metric=f"best/{name}", measure=lambda state: graded_mean(examine(state).scores[name]), better=gt)
    if held_out is None:
        return None
    return place(metric="eval_loss", measure=lambda state: held_out.loss(state.params, constants), better=lt)


def _examining(learner: Learner, exam: Exam, context: Context, purpose: str) -> Callable[[TrainState], Answers]:
    """The function that asks what trains an exam's problems; with one key, so that steps compare on the same draws."""
    trainee, tokenizer, mesh = learner.trainee, learner.tokenizer, context.mesh
    model = trainee.merged_model
    questions = questions_of(exam, tokenizer, model.config.context)
    engine = sampler_for(model, mesh, tokenizer, exam.chat, exam.samples, exam.max_new_tokens)
    key = stage_key(context.seed, f"{learner.settings.name}/{purpose}")

    def examine(state: TrainState) -> Answers:
        weights, params = trainee.publish(engine, state.params), partial(trainee.merged_params, state.params)
        return ask(Candidate(exam, model, mesh, tokenizer, weights, params), questions, key)

    return examine


def _probed(number: int, problem: Problem, answers: Answers) -> dict[str, Any]:
    """One line of ``probes.jsonl``: a problem, the first reply to it and that reply's scores."""
    return {
        "problem": number,
        "question": problem.question,
        "answer": problem.answer,
        "text": answers.texts[number][0],
        "scores": {
            name: float(values[number, 0])
            for name, values in answers.scores.items()
            if not (name in answers.ungraded and answers.ungraded[name][number, 0])
        },
    }
