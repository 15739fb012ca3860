"""What probability a model gives to texts that are there already, by the trainer's path: no token is generated.

Shapes: N texts, B rows of a batch, T time.
"""

from collections.abc import Sequence

import numpy as np
from jax import process_count, process_index

from reasoning.core.buckets import padded_length
from reasoning.core.mesh import local_rows, rows_of_all_processes, to_global
from reasoning.evaluation.exam import Candidate
from reasoning.generation.engine import rows_multiple
from reasoning.objectives.aggregation import token_mean
from reasoning.training.program import build_batching, build_scoring

Continuation = tuple[Sequence[int], Sequence[int]]
"""The ids that are read, and those after them whose probability is asked."""


def log_likelihoods(candidate: Candidate, texts: Sequence[Continuation], batch: int) -> np.ndarray:
    """The log-probability [N] in nats of each continuation, summed over its tokens, at temperature 1.

    ``batch`` texts are read at once, each process its share; all get all numbers. Every text must fit into the model's
    context. Texts of like length stand together, so that little is padding.
    """
    if not texts:
        return np.zeros(0)
    params, model, mesh = candidate.params(), candidate.model, candidate.mesh
    scoring = build_scoring(model, mesh, 1.0)
    multiple = rows_multiple(mesh)
    share = -(-batch // (process_count() * multiple)) * multiple
    order = sorted(range(len(texts)), key=lambda number: sum(map(len, texts[number])))
    log_probs_N = np.zeros(len(texts))
    for start in range(0, len(order), share * process_count()):
        numbers = order[start : start + share * process_count()]
        time = padded_length(max(sum(map(len, texts[number])) for number in numbers), (), model.context)
        first = process_index() * share
        rows = _rows([texts[number] for number in numbers[first : first + share]], share, time)
        tokens = build_batching(mesh, token_mean, time)(to_global(mesh, rows))
        # Where nothing is asked a row has no target, and whatever stands there doesn't count.
        sums_B = np.where(local_rows(tokens.mask) > 0, local_rows(scoring(params, tokens)), 0.0).sum(axis=1)
        log_probs_N[numbers] = rows_of_all_processes(sums_B.astype(np.float64))[: len(numbers)]
    return log_probs_N


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
