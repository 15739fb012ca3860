"""The programs of stages that learn from what they sample themselves, before they run."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from reasoning.core import mesh as meshes
from reasoning.core.program import Program
from reasoning.generation.calls import sampling_told
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.truncation import Truncation
from reasoning.models.flops import forward_flops
from reasoning.models.model import Model, frozen_shapes, without_lora
from reasoning.stages.learn import minibatches_of
from reasoning.stages.place import Asked, Place, asked_of
from reasoning.stages.policy_programs import PolicyPrograms
from reasoning.stages.programs import COLUMNS, Learned, row_shapes, split_by_rows
from reasoning.stages.scorer_programs import Beside
from reasoning.stages.settings import OnPolicy
from reasoning.stages.trainee import check_rows
from reasoning.training.program import build_batching
from reasoning.training.shared_prompts import computed_places


def _sampled_programs(
    stage: OnPolicy, learned: Learned, asked: Asked, truncation: Truncation | None
) -> Iterator[Program]:
    """What samples a step's completions from the parameters that learn from them."""
    settings = SamplerSettings(stage.samples, stage.max_new_tokens, asked.ends, stage.slots, asked.longest)
    yield learned.publish(settings, learned.steps)
    plain, mesh, steps = without_lora(learned.model), learned.place.mesh, learned.steps
    yield sampling_told("sample", plain, mesh, settings, stage.questions, truncation, steps, learned.around())


def asked_on_policy(stage: OnPolicy, place: Place, model: Model) -> Asked:
    """The problems that a stage samples replies to."""
    return asked_of(place, stage.name, stage, stage.start, without_lora(model).config.context)


def distilled_programs(stage: OnPolicy, learned: Learned, asked: Asked) -> Iterator[Program]:
    """What on-policy distillation compiles, and how often it calls each."""
    mesh = learned.place.mesh
    yield from _sampled_programs(stage, learned, asked, None)
    count, length = _sampled_shape(stage, asked, mesh)
    _check_shares(learned, count)
    rows, batching = _sampled_rows(learned, count, length), build_batching(mesh, stage.aggregate, stage.max_new_tokens)
    yield Program("batch", batching, (rows,), learned.steps, beside=learned.around())
    yield learned.update(split_by_rows(mesh, batching, rows), count, length)
    yield from learned.exams()


def policy_gradient_programs(
    stage: OnPolicy,
    learned: Learned,
    asked: Asked,
    between: PolicyPrograms,
    truncation: Truncation | None,
    scorers: Beside,
    *,
    minibatches: int,
    scored: bool,
    referenced: bool,
) -> Iterator[Program]:
    """What GRPO compiles, and how often it calls each.

    ``scored``: the trainer reads what it sampled once more; ``referenced``: so does a reference, which is the start, or
    the base beneath adapters. Rows are as long as they can get; shorter batches are programs of their own. ``scorers``
    read all replies.
    """
    learned = replace(learned, beside=scorers.params)
    if referenced and learned.base is None:
        reference = frozen_shapes(learned.model, learned.place.mesh)
        learned = replace(learned, beside={**learned.beside, "reference": reference})
    mesh = learned.place.mesh
    yield from _sampled_programs(stage, learned, asked, truncation)
    count, length = _sampled_shape(stage, asked, mesh)
    _check_shares(learned, count // minibatches)
    for name in scorers.scorers:
        for program in scorers.reading(name, count, length):
            around = scorers.around(replace(program, beside=learned.around(*scorers.scorers)))
            yield replace(around, calls=program.calls * learned.steps)
    rows = _sampled_rows(learned, count, length)
    rewards = jax.ShapeDtypeStruct((count,), jnp.float32, sharding=meshes.row_sharding(mesh))
    yield Program("assemble", between.assemble, (rows, rewards), learned.steps, beside=learned.around())
    part, calls = minibatches_of(split_by_rows(mesh, between.assemble, rows, rewards))[0], learned.steps * minibatches
    values = split_by_rows(mesh, lambda: jnp.zeros((count // minibatches, length), jnp.float32))
    if scored:
        around = learned.around("parameters", "base")
        yield _scoring("score", learned, between.score, (learned.all_params, part.rows), calls, around)
        if between.correct is None:
            part = replace(part, old_log_probs=values)
        else:
            yield Program("correct", between.correct, (part, values), calls, beside=learned.around())
            part = split_by_rows(mesh, between.correct, part, values)
    if referenced:
        reference = learned.beside["reference"] if learned.base is None else learned.base
        around = learned.around("reference" if learned.base is None else "base")
        yield _scoring("score reference", learned, between.score_start, (reference, part.rows), calls, around)
        part = replace(part, reference_log_probs=values)
    yield learned.update(part, count // minibatches, length)
    yield from learned.exams()


def _scoring(
    name: str, learned: Learned, function: Any, arguments: tuple[Any, Any], calls: float, around: dict[str, Any]
) -> Program:
    """A pass of the trainer's over sampled rows."""
    count, length = arguments[1].tokens.shape
    places = computed_places(learned.groups, learned.model, count, length)
    flops = forward_flops(without_lora(learned.model).config, places, length)
    return Program(name, function, arguments, calls, count * length, flops, around)


def _check_shares(learned: Learned, rows: int) -> None:
    """Raises InputError where the rows of an update can't be shared out."""
    check_rows(learned.stage.name, rows, learned.stage.microbatches, learned.place.mesh, f"{rows} rows of an update")


def _sampled_shape(stage: OnPolicy, asked: Asked, mesh: meshes.Mesh) -> tuple[int, int]:
    """How many rows a step has, and how long they can get."""
    return stage.questions * stage.samples, meshes.shared_out_length(mesh, asked.longest + stage.max_new_tokens)


def _sampled_rows(learned: Learned, count: int, length: int) -> dict[str, Any]:
    """The shapes of rows of prompts and completions."""
    rows = row_shapes(learned.place.mesh, count, length, {**COLUMNS, "replies": COLUMNS["tokens"]})
    return {**rows, "log_probs": jax.ShapeDtypeStruct((count, length), jnp.float32, sharding=rows["tokens"].sharding)}
