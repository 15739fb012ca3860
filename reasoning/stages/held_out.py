"""The loss on rows that a stage doesn't learn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.prng import data_seed
from reasoning.data.records import RandomAccessRows, Row, take_rows
from reasoning.models.parameters import Params
from reasoning.stages.settings import OnRows
from reasoning.training.batches import LabelledBatch, TokenBatch
from reasoning.training.program import build_measuring
from reasoning.training.step import LossFunction

_Build = Callable[[dict[str, jax.Array]], TokenBatch | LabelledBatch]
"""From global rows to a batch."""


@dataclass(frozen=True)
class _Some:
    """Some of a data set's rows, by number."""

    rows: RandomAccessRows
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int, /) -> Row:
        return self.rows[int(self.numbers[index])]

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        return take_rows(self.rows, self.numbers[np.asarray(indices)].tolist())


@dataclass(frozen=True)
class HeldOut:
    """Rows that are measured every ``every`` steps and after the last (0: only then), ``batch`` at once.

    ``build`` makes a batch whose tokens weigh 1, and ``total`` gives the sum of their losses and their number.
    """

    mesh: Mesh
    rows: RandomAccessRows
    every: int
    batch: int
    build: _Build
    total: Callable[[Params, Any, TokenBatch | LabelledBatch], tuple[jax.Array, jax.Array]]

    def loss(self, params: Params, frozen: Any) -> float:
        """The mean loss of the rows' tokens that carry loss: all that is trained by, a balance of experts included."""
        share, index = self.batch // jax.process_count(), jax.process_index()
        total, count = 0.0, 0.0
        for start in range(0, len(self.rows), self.batch):
            own = range(start + index * share, start + (index + 1) * share)
            taken = take_rows(self.rows, [number for number in own if number < len(self.rows)])
            batch = self.build(meshes.to_global(self.mesh, filled_up(taken, self.rows[0], share)))
            each = self.total(params, frozen, batch)
            total, count = total + float(each[0]), count + float(each[1])
        return total / max(count, 1.0)


def split_rows(stage: OnRows, rows: RandomAccessRows, seed: int) -> tuple[RandomAccessRows, RandomAccessRows]:
    """The rows that a stage learns from, and those that it holds out, drawn by the run's seed and the stage's name.

    Raises InputError where none would be left to learn from.
    """
    if stage.held_out == 0:
        return rows, ()
    if stage.held_out >= len(rows):
        raise InputError(
            f"stage {stage.name}: held_out = {stage.held_out} leaves nothing of the {len(rows)} rows of its data to "
            "learn from; hold out fewer, or prepare more data"
        )
    numbers = np.random.default_rng(data_seed(seed, f"{stage.name}/held_out")).permutation(len(rows))
    held, learnt = np.split(numbers, [stage.held_out])
    # In order, as neighbours on disk are read together; batches are shuffled anyway.
    return _Some(rows, np.sort(learnt)), _Some(rows, np.sort(held))


def held_out_of(
    stage: OnRows, model: Any, rows: RandomAccessRows, loss_fn: LossFunction, mesh: Mesh, build: _Build
) -> HeldOut | None:
    """What measures ``loss_fn`` on held-out ``rows``, a microbatch at once; None where there are none.

    ``build`` makes a batch of rows in which every token weighs 1 (``token_sum``).
    """
    if not len(rows):
        return None
    return HeldOut(
        mesh=mesh,
        rows=rows,
        every=stage.held_out_every,
        batch=stage.batch // stage.microbatches,
        build=build,
        total=build_measuring(model, loss_fn),
    )


def token_sum(mask_BT: jax.Array, length: int) -> jax.Array:
    """Every token weighs 1, so that losses of several batches add up. ``length`` isn't used."""
    return mask_BT.astype(jnp.float32)


def filled_up(rows: Sequence[Row], like: Row, count: int) -> dict[str, np.ndarray]:
    """``count`` rows in one array a column; those that are missing are empty and carry no loss."""
    empty = {name: np.zeros_like(value) for name, value in like.items()}
    padded = [*rows, *[empty] * (count - len(rows))]
    return {name: np.stack([row[name] for row in padded]) for name in like}
