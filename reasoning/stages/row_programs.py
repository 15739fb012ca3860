"""The programs of stages that learn from packed rows, before they run."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reasoning.core.program import Program
from reasoning.models.flops import forward_flops
from reasoning.models.model import Model, without_lora
from reasoning.stages.held_out import token_sum
from reasoning.stages.place import Place, row_length
from reasoning.stages.programs import COLUMNS, Learned, learned_of, row_shapes, split_by_rows
from reasoning.stages.rows import Batching
from reasoning.stages.settings import OnRows, steps_of
from reasoning.stages.trainee import check_rows
from reasoning.training.program import build_batching, build_measuring
from reasoning.training.step import LossFunction


def programs_on_rows(
    stage: OnRows,
    place: Place,
    model: Model,
    loss_fn: LossFunction,
    teacher: Model | None = None,
    columns: Mapping[str, Any] = COLUMNS,
    batching: Batching = build_batching,
) -> Iterator[Program]:
    """What ``train_on_rows`` compiles for a stage with this model and loss, and how often it calls each.

    Where epochs are learnt, a data set is taken to have ``place.rows`` rows. ``batching`` is what makes batches of rows
    with these ``columns``.
    """
    mesh, length = place.mesh, row_length(stage.name, stage.data)
    check_rows(stage.name, stage.batch, stage.microbatches, mesh, f"{stage.batch} rows", length)
    if stage.epochs:
        place.note(f"{stage.name}: its data is taken to have {place.rows:,} rows (--rows)")
    steps = steps_of(stage, place.rows, stage.batch)
    learned = learned_of(stage, place, model, loss_fn, steps, teacher=teacher)
    rows, build = row_shapes(mesh, stage.batch, length, columns), batching(mesh, stage.aggregate, length)
    yield Program("batch", build, (rows,), steps, beside=learned.around())
    yield learned.update(split_by_rows(mesh, build, rows), stage.batch, length)
    if stage.held_out:
        batch = stage.batch // stage.microbatches
        held = row_shapes(mesh, batch, length, columns)
        yield from _held_out(stage, learned, loss_fn, held, batching(mesh, token_sum, length))
    yield from learned.exams()


def _held_out(
    stage: OnRows, learned: Learned, loss_fn: LossFunction, rows: Mapping[str, Any], batching: Callable[..., Any]
) -> Iterator[Program]:
    """What measures the loss of rows that aren't learnt from, a microbatch at once."""
    mesh, (batch, length) = learned.place.mesh, rows["tokens"].shape
    measured = stage.held_out_every or (stage.best.every if stage.best and stage.best.exam is None else 0)
    calls = (-(-learned.steps // measured) if measured else 1) * -(-stage.held_out // batch)
    yield Program("held out: batch", batching, (rows,), calls, beside=learned.around())
    arguments = (learned.step.abstract.params, learned.step.frozen, split_by_rows(mesh, batching, rows))
    teacher = 0 if learned.teacher is None else forward_flops(learned.teacher.config, batch * length, length)
    yield Program(
        "held out: loss",
        build_measuring(learned.model, loss_fn),
        arguments,
        calls,
        tokens=batch * length,
        flops=teacher + forward_flops(without_lora(learned.model).config, batch * length, length),
        beside=learned.around("parameters", "base", "teacher"),
    )
