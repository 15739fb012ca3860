"""Rollouts as a product: what a stage sampled at each step, one row a completion, in a file that anybody can read.

Shapes: P prompts of this process, G samples a prompt, B = P * G rows, N new tokens, T row time.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reasoning.core.files import write_atomic
from reasoning.core.mesh import rows_of_all_processes
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.generation.engine import Rollouts
from reasoning.rollouts.prompt_sampler import Sampled, batch_places
from reasoning.rollouts.rating import judgements_of_all_processes
from reasoning.rollouts.text import decode_replies
from reasoning.tasks.problems import Problem
from reasoning.training.metrics import rollouts_file

VERDICT, FAILING, DETAIL = "verdicts/", "failing/", "details/"
"""How columns of reasons begin, before the reward's name."""

_GROUP_BYTES = 2**24
_PER_TOKEN = pa.list_(pa.float32())


@dataclass(frozen=True)
class Judged:
    """What became of completions: rewards [P, G] by name (NaN: doesn't apply, or not graded), their total, advantages
    [P, G], the trainer's own log-probabilities and entropies of tokens [P, G, N], and the judgements [P, G] of rewards
    that explain; None or empty where a stage has no such thing."""

    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    rewards: np.ndarray | None = None
    advantages: np.ndarray | None = None
    log_probs: np.ndarray | None = None
    entropies: np.ndarray | None = None
    judgements: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class RolloutLog:
    """Writes ``rollouts/step_000012.parquet`` into a stage's ``folder`` every so many steps (0: never).

    ``problems`` are all that the stage draws from, ``chat`` is how they are put.
    """

    folder: Path
    every: int
    problems: Sequence[Problem]
    tokenizer: Tokenizer
    chat: ChatFormat

    def due(self, step: int) -> bool:
        """Whether the completions of this step, counted from 1, are kept."""
        return self.every > 0 and step % self.every == 0

    def texts(self, rollouts: Rollouts) -> list[list[str]]:
        """Completions [P][G] as rewards read them."""
        return decode_replies(self.tokenizer, rollouts, self.chat, self.chat.opening)

    def write(self, step: int, sampled: Sampled, texts: Sequence[Sequence[str]], judged: Judged) -> None:
        """Writes one step's file, all processes' rows in the order of the global batch; every process calls it.

        ``texts`` [P][G] are this process's completions. Equal rollouts give equal bytes. Raises OSError as
        ``write_atomic`` does.
        """
        places = batch_places(len(sampled.numbers))
        order = np.argsort(rows_of_all_processes(np.array(places)))

        def gathered(array: np.ndarray) -> np.ndarray:
            return to_the_bit(array)[order]

        rollouts = Rollouts(*(gathered(getattr(sampled.rollouts, name)) for name in Rollouts.names()))
        numbers = gathered(np.array(sampled.numbers))
        whole = Judged(
            values={name: gathered(values) for name, values in judged.values.items()},
            rewards=None if judged.rewards is None else gathered(judged.rewards),
            advantages=None if judged.advantages is None else gathered(judged.advantages),
            log_probs=None if judged.log_probs is None else gathered(judged.log_probs),
            entropies=None if judged.entropies is None else gathered(judged.entropies),
            judgements={name: judgements_of_all_processes(each)[order] for name, each in judged.judgements.items()},
        )
        if jax.process_index() != 0:
            return
        if jax.process_count() > 1:
            texts = self.texts(rollouts)
        table = rollout_table(step, [self.problems[number] for number in numbers], rollouts, texts, whole)
        file, content = rollouts_file(self.folder, step), io.BytesIO()
        pq.write_table(table, content, row_group_size=rows_of_group(table), compression="zstd")
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, content.getvalue())


def rollout_table(
    step: int, problems: Sequence[Problem], rollouts: Rollouts, texts: Sequence[Sequence[str]], judged: Judged
) -> pa.Table:
    """The rows of one step, group by group; ``prompt`` is the question, ``length`` counts tokens, the end included."""
    prompts, samples = rollouts.lengths.shape
    rows = prompts * samples

    def each(values: Sequence[Any]) -> pa.Array:
        return pa.array([value for value in values for _ in range(samples)])

    def numbers(values: np.ndarray | None, kind: pa.DataType) -> pa.Array:
        """NaN becomes null: what doesn't apply is no number."""
        return pa.nulls(rows, kind) if values is None else pa.array(values.reshape(-1), kind, from_pandas=True)

    columns = {
        "step": pa.array(np.full(rows, step, np.int32)),
        "prompt": each([problem.question for problem in problems]),
        "group": each([np.int32(number) for number in range(prompts)]),
        "sample": pa.array(np.tile(np.arange(samples, dtype=np.int32), prompts)),
        "completion": pa.array([text for group in texts for text in group], pa.string()),
        "length": pa.array(rollouts.lengths.reshape(-1).astype(np.int32)),
        "truncated": pa.array(rollouts.truncated.reshape(-1)),
        "reward": numbers(judged.rewards, pa.float64()),
        **{f"rewards/{name}": numbers(values, pa.float64()) for name, values in judged.values.items()},
        **_reasons(judged.judgements),
        "advantage": numbers(judged.advantages, pa.float32()),
        "answer": each([problem.answer for problem in problems]),
        "kind": each([problem.kind for problem in problems]),
        "sampler_log_probs": _lists(rollouts.log_probs, rollouts.lengths),
        "trainer_log_probs": _lists(judged.log_probs, rollouts.lengths),
        "trainer_entropies": _lists(judged.entropies, rollouts.lengths),
    }
    return pa.table(columns)


def rows_of_group(table: pa.Table) -> int:
    """How many rows to write together, so that who wants a few of them reads about 16 MiB at most, however long."""
    return max(1, _GROUP_BYTES * table.num_rows // max(table.nbytes, 1))


def _reasons(judgements: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
    """Verdict, number of the failing test and detail of each completion; none of a reward that gave no verdict."""
    columns = {}
    for name, judgements_PG in judgements.items():
        each = judgements_PG.reshape(-1)
        if any(judgement.verdict for judgement in each):
            columns[f"{VERDICT}{name}"] = pa.array([judgement.verdict or None for judgement in each], pa.string())
            columns[f"{FAILING}{name}"] = pa.array([judgement.failing for judgement in each], pa.int32())
            columns[f"{DETAIL}{name}"] = pa.array([judgement.detail for judgement in each], pa.string())
    return columns


def _lists(values_PGN: np.ndarray | None, lengths_PG: np.ndarray) -> pa.Array:
    """One list a completion, as long as the completion; nulls where there are no values."""
    if values_PGN is None:
        return pa.nulls(lengths_PG.size, _PER_TOKEN)
    inside_PGN = np.arange(values_PGN.shape[-1]) < lengths_PG[..., None]
    ends = np.concatenate([[0], np.cumsum(lengths_PG.reshape(-1))]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, values_PGN[inside_PGN].astype(np.float32), type=_PER_TOKEN)


def of_completions(values_BT: np.ndarray, prompts: Sequence[Sequence[int]], shape: tuple[int, ...]) -> np.ndarray:
    """From values [B, T] at the places that predict, to [P, G, N] at the tokens that are predicted.

    ``shape`` is (P, G, N). What lies beyond a completion's length means nothing.
    """
    samples, new = shape[1:]
    starts_P = np.array([len(prompt) for prompt in prompts])
    places_PN = np.minimum(starts_P[:, None] - 1 + np.arange(new), values_BT.shape[1] - 1)
    values_PGT = values_BT.reshape(len(prompts), samples, -1)
    return np.take_along_axis(values_PGT, places_PN[:, None, :], axis=2)


def to_the_bit(local: np.ndarray) -> np.ndarray:
    """As ``rows_of_all_processes``, but numbers of 64 bits stay so: JAX would make them numbers of 32 on the way."""
    if local.dtype.itemsize != 8 or jax.process_count() == 1:
        return rows_of_all_processes(local)
    halves = np.ascontiguousarray(local)[..., None].view(np.uint32)
    return np.ascontiguousarray(rows_of_all_processes(halves)).view(local.dtype)[..., 0]
