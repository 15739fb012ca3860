"""What probability a model gives to texts that are there already, by the trainer's path: no token is generated.

Shapes: N texts, B rows of a batch, T time.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import process_count, process_index
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.buckets import padded_length
from reasoning.core.mesh import local_rows, rows_of_all_processes, to_global
from reasoning.core.program import Program
from reasoning.evaluation.exam import Candidate
from reasoning.generation.engine import rows_multiple
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import TokenBatch
from reasoning.training.program import build_batching, build_scoring

_MOST_TOKENS = 1 << 20
"""Of a batch of texts on one process, padding included."""

Continuation = tuple[Sequence[int], Sequence[int]]
"""The ids that are read, and those after them whose probability is asked."""


def log_likelihoods(candidate: Candidate, texts: Sequence[Continuation], batch: int) -> np.ndarray:
    """The log-probability [N] in nats of each continuation, summed over its tokens, at temperature 1.

    ``batch`` texts are read at once, each process its share; all get all numbers. Every text must fit into the model's
    context. Texts of like length stand together, so that little is padding.
    """
    log_probs_N = np.zeros(len(texts))
    if not texts:
        return log_probs_N
    params, scoring = candidate.params(), build_scoring(candidate.model, candidate.mesh, 1.0)

    def sums_of(tokens: TokenBatch) -> np.ndarray:
        # Where nothing is asked a row has no target, and whatever stands there doesn't count.
        log_probs_BT = local_rows(scoring(params, tokens).log_prob_BT)
        sums_B = np.where(local_rows(tokens.mask) > 0, log_probs_BT, 0.0).sum(axis=1)
        return sums_B.astype(np.float64)

    for numbers, sums_B in read_all(candidate.mesh, candidate.model.context, texts, batch, sums_of):
        log_probs_N[numbers] = sums_B
    return log_probs_N


def read_all(
    mesh: Mesh, context: int, texts: Sequence[Continuation], batch: int, read: Callable[[TokenBatch], np.ndarray]
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Numbers of texts, with what ``read`` gives for this process's rows [B, …] of them, on every process.

    ``batch`` texts are read at once, fewer where they are long (``_MOST_TOKENS``), each process its share; texts of
    like length stand together, so that little is padding. Every text must fit into the ``context``.
    """
    multiple = rows_multiple(mesh)
    order = sorted(range(len(texts)), key=lambda number: sum(map(len, texts[number])))
    start = 0
    while start < len(order):
        share = -(-batch // (process_count() * multiple)) * multiple
        while True:
            numbers = order[start : start + share * process_count()]
            time = padded_length(max(sum(map(len, texts[number])) for number in numbers), (), context)
            if share <= multiple or share * time <= _MOST_TOKENS:
                break
            share = _half(share, multiple)
        first = process_index() * share
        rows = _rows([texts[number] for number in numbers[first : first + share]], share, time)
        values_B = read(build_batching(mesh, token_mean, time)(to_global(mesh, rows)))
        yield numbers, rows_of_all_processes(values_B)[: len(numbers)]
        start += len(numbers)


def _half(share: int, multiple: int) -> int:
    """Half as many rows of a process, a multiple of its devices still."""
    return max(share // (2 * multiple), 1) * multiple


def reading_told(
    name: str, mesh: Mesh, context: int, texts: int, batch: int, longest: int
) -> tuple[Program, TokenBatch]:
    """The program with which ``read_all`` makes batches of texts that are all as long as the longest, and their shapes.

    It is called as often as they are read.
    """
    parts, processes = meshes.data_parallel_size(mesh), len({device.process_index for device in mesh.devices.flat})
    multiple, time = max(1, parts // processes), padded_length(longest, (), context)
    share = -(-batch // (processes * multiple)) * multiple
    while share > multiple and share * time > _MOST_TOKENS:
        share = _half(share, multiple)
    rows = share * processes
    row = jax.ShapeDtypeStruct((rows, time), jnp.int32, sharding=meshes.row_sharding(mesh))
    packed = dict.fromkeys(("tokens", "positions", "segments", "loss_mask"), row)
    batching = build_batching(mesh, token_mean, time)
    shapes = jax.eval_shape(batching, packed)
    given = meshes.with_shardings(shapes, jax.tree.map(lambda _: meshes.row_sharding(mesh), shapes))
    return Program(f"{name}: batch", batching, (packed,), -(-texts // rows)), given


def _rows(texts: Sequence[Continuation], rows: int, time: int) -> dict[str, np.ndarray]:
    """Rows [B, T] of one text each, padded on the right; those beyond the texts are empty."""
    tokens, asked, segments = np.zeros((3, rows, time), np.int32)
    for row, (before, after) in enumerate(texts):
        end = len(before) + len(after)
        tokens[row, :end] = [*before, *after]
        asked[row, len(before) : end] = 1
        segments[row, :end] = 1
    positions = np.broadcast_to(np.arange(time, dtype=np.int32), tokens.shape)
    return {"tokens": tokens, "positions": np.array(positions), "segments": segments, "loss_mask": asked}
