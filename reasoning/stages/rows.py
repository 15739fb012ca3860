"""Training on packed rows, which is all that pretraining, fine-tuning and logit distillation are.

They differ in the start and in the loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import jax

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError, without_notes
from reasoning.core.prng import data_seed
from reasoning.data.pipeline import token_batches
from reasoning.data.records import Row, keep_rows, read_records
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.stages.checkpoint import intact
from reasoning.stages.held_out import held_out_of, split_rows, token_sum
from reasoning.stages.learn import Frozen, Learner, learn
from reasoning.stages.settings import OnRows, steps_of
from reasoning.stages.stage import Context
from reasoning.stages.trainee import Trainee
from reasoning.training.batches import Aggregation, LabelledBatch, TokenBatch, tokens_with_loss
from reasoning.training.program import build_batching
from reasoning.training.state import TrainState
from reasoning.training.step import LossFunction

_MEMORY = 1 << 28
"""Bytes up to which a data set's rows are decoded once and kept."""

_PREFETCH = 2


Batching = Callable[[meshes.Mesh, Aggregation, int], Callable[[dict[str, jax.Array]], TokenBatch | LabelledBatch]]
"""``build_batching``, or what stands in its place for rows with other columns."""


@dataclass(frozen=True)
class _RowSource:
    """Batches for ``fit`` from a packed data set: global shuffle, then this process's slice of each batch."""

    mesh: meshes.Mesh
    batches: grain.DatasetIterator[Row]
    build: Callable[[dict[str, jax.Array]], TokenBatch | LabelledBatch]
    epochs_a_step: float

    def get_state(self) -> dict[str, Any]:
        """Where in the data set the next batch lies."""
        return self.batches.get_state()

    def set_state(self, cursor: dict[str, Any]) -> None:
        """Goes on with the batch at ``cursor``."""
        self.batches.set_state(cursor)

    def __call__(self, state: TrainState, step: int) -> tuple[TokenBatch | LabelledBatch, Mapping[str, float]]:
        """The next batch, how many of its tokens carry loss, and how often all rows have been seen after it."""
        with without_notes():
            rows = next(self.batches)
        batch = self.build(meshes.to_global(self.mesh, rows))
        return batch, {"tokens": int(tokens_with_loss(batch)), "epoch": (step + 1) * self.epochs_a_step}


def planned_epochs(stage: OnRows, data: Artifact) -> dict[str, object]:
    """How many steps a stage's epochs are, for ``run --check``, once its data is there; nothing where steps are given.

    Raises InputError where too many rows are held out.
    """
    if stage.steps or data.kind != "records":
        return {}
    learnt, _ = split_rows(stage, read_records(data.records_folder), 0)  # as many by any seed
    steps = steps_of(stage, len(learnt), stage.batch)
    return {"steps": steps, "rows": steps * stage.batch}


def train_on_rows(
    stage: OnRows,
    data: Artifact,
    trainee: Trainee,
    tokenizer: Tokenizer,
    loss_fn: LossFunction,
    out: Path,
    context: Context,
    frozen: Frozen | None = None,
    batching: Batching = build_batching,
) -> Outcome:
    """Trains on the rows of ``data`` by ``loss_fn``, which may read ``frozen`` parameters; measures those held out.

    ``batching`` makes the batches that ``loss_fn`` reads.
    Raises InputError for rows that don't fit the models, or where none is left to learn from.
    """
    if data.kind != "records":
        raise InputError(
            f"stage {stage.name}: its data {data.stage} left {data.kind}, no rows; name a stage that prepares data"
        )
    with intact(data):
        rows = keep_rows(read_records(data.records_folder), _MEMORY)
    length = int(rows[0]["tokens"].shape[0])
    readers = {"model": trainee.model} | ({} if frozen is None else {"teacher": frozen.model})
    for whose, reader in readers.items():
        if length > reader.config.context:
            raise InputError(
                f"stage {stage.name}: rows of {length} tokens exceed the {whose}'s context of {reader.config.context}; "
                f"prepare the data with a length of at most that"
            )
    learnt, held = split_rows(stage, rows, context.seed)
    batches = token_batches(
        learnt,
        batch_size=stage.batch,
        seed=data_seed(context.seed, stage.name),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        prefetch=_PREFETCH,
    )
    source = _RowSource(
        context.mesh, iter(batches), batching(context.mesh, stage.aggregate, length), stage.batch / len(learnt)
    )
    measured_alike = batching(context.mesh, token_sum, length)
    learner = Learner(
        settings=stage,
        trainee=trainee,
        tokenizer=tokenizer,
        loss_fn=loss_fn,
        shown=("loss", "eval_loss", "accuracy", "probe/strict"),
        steps=steps_of(stage, len(learnt), stage.batch),
        tokens_per_step=stage.batch * length,
        frozen=frozen,
        held_out=held_out_of(stage, trainee.model, held, loss_fn, context.mesh, measured_alike),
    )
    return learn(learner, source, out, context)
