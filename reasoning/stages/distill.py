"""Distillation: a student learns a teacher's distribution over the next token, on data or on what it says itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.core.ranges import NonNegative, Positive, Size
from reasoning.core.stopwatch import Stopwatch
from reasoning.data.tokenizers.comparison import tokenizer_difference
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.kernels.backends import Choice
from reasoning.kernels.divergence import Divergence, check_divergence
from reasoning.models.model import Model, frozen_params
from reasoning.objectives.divergence import forward, metric_name, reverse
from reasoning.rollouts.prompt_sampler import PromptSampler, completion_metrics, epoch_metric, sampling_cost
from reasoning.rollouts.record import Judged, RolloutLog
from reasoning.rollouts.text import encode_prompts
from reasoning.stages.checkpoint import check_data, model_of, params_of, tokenizer_of
from reasoning.stages.learn import Frozen, Learner, learn
from reasoning.stages.on_policy_programs import asked_on_policy, distilled_programs
from reasoning.stages.place import Place
from reasoning.stages.programs import learned_of, model_before, trained_model
from reasoning.stages.row_programs import programs_on_rows
from reasoning.stages.rows import train_on_rows
from reasoning.stages.settings import FineTuning, OnPolicy, OnRows, steps_of
from reasoning.stages.stage import Context, LearnsFrom, Stage
from reasoning.stages.trainee import (
    Trainee,
    check_on_policy,
    check_on_rows,
    planned,
    planned_rollouts,
    planned_rows,
    planned_steps,
    sampler_of,
    trainee_of,
)
from reasoning.training.batches import TokenBatch
from reasoning.training.losses import distill, distill_on_policy
from reasoning.training.program import build_batching
from reasoning.training.shared_prompts import ReplyGroups, shareable
from reasoning.training.state import TrainState
from reasoning.training.step import LossFunction


@dataclass(frozen=True, kw_only=True)
class Distill(FineTuning, OnRows):
    """Trains ``start`` to say what ``teacher`` would, token by token, on the packed rows of ``data``.

    Logit distillation (Hinton et al., arXiv 1503.02531). As in SFT only the replies carry loss. Above 0,
    ``cross_entropy_coefficient`` adds the loss of SFT. Teacher and student have one tokenizer; where their vocabularies
    are filled up differently (Qwen2.5), distributions are over the ids of the tokenizer alone.
    """

    learns_from: ClassVar[LearnsFrom] = "teacher"

    teacher: Stage
    divergence: Divergence = forward
    temperature: Positive = 1.0  # divides the logits of both
    cross_entropy_coefficient: NonNegative = 0.0

    def __post_init__(self) -> None:
        check_divergence(self.divergence)
        if self.cross_entropy_coefficient == 0:
            _check_teacher(self)

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where the rows of a step can't be shared out on ``mesh``, or LoRA lacks a target."""
        planned(self)
        check_on_rows(self, mesh)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint; InputError where student, teacher and data don't speak the same tokens."""
        self.check(context.mesh)
        student, tokenizer = model_of(inputs["start"], context.mesh, context.kernels), tokenizer_of(inputs["start"])
        teacher, shared = _teacher_for(student, tokenizer, self.name, inputs, context)
        check_data(inputs, tokenizer, self.name)
        trainee = trainee_of(self, inputs["start"], context)
        loss_fn = self.objective(teacher.model, trainee.model, shared, context.kernels)
        return train_on_rows(self, inputs["data"], trainee, tokenizer, loss_fn, out, context, teacher)

    def objective(self, teacher: Model, student: Model, shared: int | None, kernels: Choice) -> LossFunction:
        """The loss, over the ``shared`` first ids of both vocabularies (None: all)."""
        return distill(
            teacher,
            student,
            divergence=self.divergence,
            temperature=self.temperature,
            cross_entropy_coefficient=self.cross_entropy_coefficient,
            vocabulary=shared,
            kernels=kernels,
        )

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile."""
        teacher, student, shared = _models_before(self, place)
        loss_fn = self.objective(teacher, student, shared, place.kernels)
        return tuple(programs_on_rows(self, place, student, loss_fn, teacher))

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {**planned(self), **planned_rows(self)}


@dataclass(frozen=True, kw_only=True)
class OnPolicyDistill(OnPolicy):
    """Trains ``start`` on its own completions of problems, to say what ``teacher`` would say in its place.

    A step samples ``samples`` completions of each of ``questions`` problems and takes the divergence from the teacher
    at each of their tokens; no reward is needed. Both distributions are at ``temperature``, that of sampling, and the
    loss is their divergence as it is (``Distill`` multiplies it by the temperature's square). Tokenizers and
    vocabularies are as in ``Distill``. MiniLLM (arXiv 2306.08543); GKD (arXiv 2306.13649) with all rows sampled.
    """

    learns_from: ClassVar[LearnsFrom] = "teacher"

    teacher: Stage
    samples: Size = 1  # replies a question
    divergence: Divergence = reverse

    def __post_init__(self) -> None:
        check_divergence(self.divergence)
        _check_teacher(self)

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where the rows of a step can't be shared out on ``mesh``, or LoRA lacks a target."""
        check_on_policy(self, mesh)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint; InputError where student and teacher don't speak the same tokens."""
        self.check(context.mesh)
        student, tokenizer = model_of(inputs["start"], context.mesh, context.kernels), tokenizer_of(inputs["start"])
        teacher, shared = _teacher_for(student, tokenizer, self.name, inputs, context)
        trainee = trainee_of(self, inputs["start"], context)
        source = self.source(trainee, teacher.model, tokenizer, out, context)
        learner = Learner(
            settings=self,
            trainee=trainee,
            tokenizer=tokenizer,
            loss_fn=self.objective(teacher.model, trainee.model, shared, context.kernels, source.groups),
            groups=source.groups,
            shown=(metric_name(self.divergence), "completions/mean_length", "probe/strict"),
            steps=steps_of(self, len(source.sampler.problems), self.questions),
            tokens_per_step=self.questions * self.samples * self.max_new_tokens,
            frozen=teacher,
        )
        return learn(learner, source, out, context)

    def groups(self, teacher: Model, student: Model, longest_prompt: int) -> ReplyGroups | None:
        """What is known of a step's rows before they are sampled; None where a model has to read rows whole."""
        if not (shareable(teacher) and shareable(student)):
            return None
        return ReplyGroups(self.samples, longest_prompt, self.max_new_tokens)

    def objective(
        self, teacher: Model, student: Model, shared: int | None, kernels: Choice, groups: ReplyGroups | None
    ) -> LossFunction:
        """The loss, over the ``shared`` first ids of both vocabularies (None: all)."""
        return distill_on_policy(
            teacher,
            student,
            divergence=self.divergence,
            temperature=self.temperature,
            vocabulary=shared,
            kernels=kernels,
            groups=groups,
        )

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile."""
        teacher, student, shared = _models_before(self, place)
        asked = asked_on_policy(self, place, student)
        groups = self.groups(teacher, student, asked.longest)
        loss_fn = self.objective(teacher, student, shared, place.kernels, groups)
        learned = learned_of(self, place, student, loss_fn, planned_steps(self), teacher=teacher)
        return tuple(distilled_programs(self, replace(learned, groups=groups), asked))

    def source(
        self, trainee: Trainee, teacher: Model, tokenizer: Tokenizer, out: Path, context: Context
    ) -> "CompletionSource":
        """Where batches come from. Raises InputError for a prompt that leaves no room for ``max_new_tokens``."""
        sampler = sampler_of(self, trainee, tokenizer, context)
        try:
            limit = teacher.config.context
            encode_prompts(sampler.problems, self.chat, tokenizer, self.max_new_tokens, limit)
        except InputError as error:
            raise InputError(f"stage {self.name}, its teacher: {error}") from None
        groups = self.groups(teacher, trainee.model, sampler.longest_row - self.max_new_tokens)
        updates = steps_of(self, len(sampler.problems), self.questions)
        return CompletionSource(
            student=trainee.merged_model,
            groups=None if groups is None else groups.for_updates(updates),
            microbatches=self.microbatches,
            mesh=context.mesh,
            sampler=sampler,
            log=RolloutLog(out, self.rollouts_every, sampler.problems, tokenizer, self.chat),
            build=build_batching(context.mesh, self.aggregate, self.max_new_tokens),
            clock=context.clock,
        )

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return planned_rollouts(self)


@dataclass(frozen=True)
class CompletionSource:
    """Batches for ``fit`` of completions that the very parameters which then learn from them have sampled."""

    student: Model
    groups: ReplyGroups | None
    microbatches: int
    mesh: Mesh
    sampler: PromptSampler
    log: RolloutLog
    build: Callable[[dict[str, jax.Array]], TokenBatch]
    clock: Stopwatch

    def get_state(self) -> dict[str, Any]:
        """Which prompts come next."""
        return self.sampler.get_state()

    def set_state(self, cursor: dict[str, Any]) -> None:
        """Goes on with the prompts that come next in ``cursor``."""
        self.sampler.set_state(cursor)

    def __call__(self, state: TrainState, step: int) -> tuple[TokenBatch, Mapping[str, float]]:
        """Samples and keeps: one batch, in which loss falls on the completions, and its metrics."""
        with self.clock.part("rollout"):
            sampled = self.sampler(state.params, step)
        if self.log.due(step + 1):
            self.log.write(step + 1, sampled, self.log.texts(sampled.rollouts), Judged())
        metrics = completion_metrics(sampled.rollouts) | sampling_cost(self.student.config, sampled)
        metrics |= epoch_metric(self.sampler, sampled, step)
        batch = self.build(meshes.to_global(self.mesh, sampled.rows))
        if self.groups is not None:
            lengths_B = sampled.rollouts.lengths.reshape(-1)
            batch = self.groups.in_room(batch, self.student, lengths_B, self.microbatches)
        return batch, metrics


def _check_teacher(stage: Distill | OnPolicyDistill) -> None:
    """Raises InputError for a student that begins as its own teacher: any divergence of equals is at its minimum."""
    if stage.teacher == stage.start:
        raise InputError(
            f"stage {stage.name}: its teacher is its start, {stage.start.name}, from which it differs in nothing, so "
            "nothing is ever learnt; name another teacher"
        )


def _models_before(stage: Distill | OnPolicyDistill, place: Place) -> tuple[Model, Model, int | None]:
    """Teacher, student and shared ids as ``_teacher_for`` gives them, before any of them is there."""
    teacher, student = model_before(stage.teacher, place, stage.name), trained_model(stage, place)
    sizes = teacher.config.vocabulary, student.config.vocabulary
    if sizes[0] == sizes[1]:
        return teacher, student, None
    tokenizers = place.tokenizer(stage.teacher), place.tokenizer(stage.start)
    return teacher, student, min(*sizes, *(each.vocabulary_size for each in tokenizers if each is not None))


def _teacher_for(
    student: Model, tokenizer: Tokenizer, stage: str, inputs: Mapping[str, Artifact], context: Context
) -> tuple[Frozen, int | None]:
    """The teacher, laid out by its own rules, and how many first ids a divergence is over; None: all of both models.

    Rows beyond the tokenizer's ids only fill a vocabulary up, and families do it differently by size. Raises InputError
    where the teacher can't teach this student, since a divergence compares token by token: another tokenizer, or one
    with ids that a model has no row for.
    """
    model, theirs = model_of(inputs["teacher"], context.mesh, context.kernels), tokenizer_of(inputs["teacher"])
    teacher, start = inputs["teacher"].stage, inputs["start"].stage
    difference = tokenizer_difference(theirs, tokenizer)
    if difference is not None:
        raise InputError(
            f"stage {stage}: its teacher {teacher} and its start {start} have different tokenizers, so their ids mean "
            f"different things ({difference}); train the student on data of the teacher's tokenizer, or learn from its "
            "samples by SFT"
        )
    size, own = model.config.vocabulary, student.config.vocabulary
    shared = min(theirs.vocabulary_size, tokenizer.vocabulary_size)
    if shared > min(size, own):
        raise InputError(
            f"stage {stage}: the tokenizer has {shared} ids, but its teacher {teacher} a vocabulary of {size} and its "
            f"start {start} one of {own}; take models that have a row for each id"
        )
    params = frozen_params(model, params_of(inputs["teacher"], model, context.mesh))
    return Frozen(model, params), None if size == own else shared
