"""How well checkpoints predict texts that none of them learnt from, in bits a byte: whatever their tokenizers are.

Shapes: R rows, B rows of a batch, T time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float
from scipy import stats

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.mesh import replicated, to_global, with_shardings
from reasoning.core.program import Program
from reasoning.core.progress import Progress
from reasoning.core.ranges import Size
from reasoning.data.chat.format import ChatFormat
from reasoning.data.records import RandomAccessRows, Row, read_records, take_rows
from reasoning.data.tokenizers.comparison import tokenizer_difference
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.kernels.backends import Choice
from reasoning.models.flops import forward_flops
from reasoning.models.model import Model, parameter_shardings
from reasoning.models.parameters import Params
from reasoning.stages.checkpoint import check_vocabulary, intact, model_of, params_of, tokenizer_of
from reasoning.stages.held_out import filled_up, token_sum
from reasoning.stages.place import Place, row_length
from reasoning.stages.programs import model_before, row_shapes, split_by_rows
from reasoning.stages.stage import Context, Stage
from reasoning.training.batches import TokenBatch
from reasoning.training.program import build_batching
from reasoning.training.token_scores import score


@dataclass(frozen=True, kw_only=True)
class TextLoss:
    """Measures each of ``readers``, stages that leave checkpoints, on each of ``texts``, stages that pack rows.

    ``<text>/<reader>/bits_per_byte`` is the cross-entropy of the tokens that carry loss, over the UTF-8 bytes of what
    these tokens spell (The Pile, arXiv 2101.00027, section 3.1); the chat format's symbols cost bits and spell nothing.
    ``…/low`` and ``…/high`` are a 95 % interval, rows taken as drawn; ``<text>/<reader>/minus_<first reader>`` is the
    difference to the first reader, with an interval of the paired differences.
    """

    name: str = ""
    readers: tuple[Stage, ...]
    texts: tuple[Stage, ...]
    batch: Size = 16  # rows at once
    chat: ChatFormat = ChatFormat()

    def __post_init__(self) -> None:
        if not self.readers or not self.texts:
            raise InputError(f"stage {self.name} measures texts by their readers; name at least one of each")

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Reads all texts with each reader."""
        del out  # the numbers are all that it leaves
        readers: tuple[Artifact, ...] = inputs["readers"]
        texts: tuple[Artifact, ...] = inputs["texts"]
        results: dict[str, float] = {}
        first: dict[str, np.ndarray] = {}
        for number, reader in enumerate(readers):
            model, tokenizer = model_of(reader, context.mesh, context.kernels), tokenizer_of(reader)
            params = params_of(reader, model, context.mesh)
            for place, text in enumerate(texts):
                rows = self._rows(text, reader, model, tokenizer)
                bits_R = _row_bits(model, params, rows, self.batch, context.mesh, context.kernels)
                bytes_R = row_bytes(rows, tokenizer, self.chat)
                shown = f"{text.stage}/{reader.stage}"
                results |= _named(f"{shown}/bits_per_byte", *ratio_with_interval(bits_R, bytes_R))
                if number:
                    changes_R = bits_R - first[text.stage]
                    results |= _named(f"{shown}/minus_{readers[0].stage}", *ratio_with_interval(changes_R, bytes_R))
                first.setdefault(text.stage, bits_R)
                done = number * len(texts) + place + 1
                told = {shown: results[f"{shown}/bits_per_byte"]}
                context.report(Progress(self.name, done, len(readers) * len(texts), told))
        return Outcome("results", results)

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` compiles to read texts, each taken to have ``place.rows`` rows."""
        place.note(f"{self.name}: each of its texts is taken to have {place.rows:,} rows (--rows)")
        return tuple(
            one for reader in self.readers for text in self.texts for one in self._reading(reader, text, place)
        )

    def _reading(self, reader: Stage, text: Stage, place: Place) -> Iterator[Program]:
        mesh, length = place.mesh, row_length(self.name, text)
        model, calls = model_before(reader, place, self.name), -(-place.rows // self.batch)
        params = with_shardings(model.shapes, parameter_shardings(model, mesh))
        rows, batching = row_shapes(mesh, self.batch, length), build_batching(mesh, token_sum, length)
        yield Program("batch", batching, (rows,), calls, beside={"parameters": params})
        tokens, reading = self.batch * length, _measuring(model, place.kernels, mesh)
        flops, batch = forward_flops(model.config, tokens, length), split_by_rows(mesh, batching, rows)
        yield Program(f"{text.name} by {reader.name}", reading, (params, batch), calls, tokens, flops)

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {"texts read": len(self.readers) * len(self.texts)}

    def _rows(self, text: Artifact, reader: Artifact, model: Model, tokenizer: Tokenizer) -> RandomAccessRows:
        """A text's rows. Raises InputError where they aren't, or aren't of the reader's tokens and length."""
        if text.kind != "records":
            raise InputError(f"stage {self.name}: {text.stage} left {text.kind}, no rows; name a stage that packs some")
        with intact(text):
            rows = read_records(text.records_folder)
        difference = tokenizer_difference(tokenizer_of(text), tokenizer)
        if difference is not None:
            raise InputError(
                f"stage {self.name}: {text.stage} was tokenized otherwise than {reader.stage} reads ({difference}); "
                f"prepare it with the tokenizer of {reader.stage}"
            )
        check_vocabulary(model.config, tokenizer, self.name)
        length = int(rows[0]["tokens"].shape[0])
        if length > model.config.context:
            raise InputError(
                f"stage {self.name}: rows of {length} tokens of {text.stage} exceed the context of {reader.stage}, "
                f"{model.config.context}; prepare them with a length of at most that"
            )
        return rows


def _row_bits(
    model: Model, params: Params, rows: RandomAccessRows, batch: int, mesh: Mesh, kernels: Choice
) -> Float[np.ndarray, " R"]:
    """The bits that each row's tokens with loss cost, in float64, the same on every process."""
    build = build_batching(mesh, token_sum, int(rows[0]["tokens"].shape[0]))
    measure = _measuring(model, kernels, mesh)
    share, index = batch // jax.process_count(), jax.process_index()
    found: list[np.ndarray] = []
    for start in range(0, len(rows), batch):
        own = range(start + index * share, start + (index + 1) * share)
        taken = take_rows(rows, [number for number in own if number < len(rows)])
        found.append(np.asarray(measure(params, build(to_global(mesh, filled_up(taken, rows[0], share))))))
    return np.concatenate(found)[: len(rows)].astype(np.float64) / log(2)


@lru_cache(8)
def _measuring(model: Model, kernels: Choice, mesh: Mesh) -> Callable[[Params, TokenBatch], jax.Array]:
    def nats(params: Params, rows: TokenBatch) -> jax.Array:
        log_prob_BT = score(model, params, rows, kernels=kernels).log_prob_BT
        return -jnp.sum(log_prob_BT * (rows.mask > 0), axis=1)

    return jax.jit(nats, out_shardings=replicated(mesh))


def row_bytes(rows: RandomAccessRows, tokenizer: Tokenizer, chat: ChatFormat) -> Float[np.ndarray, " R"]:
    """The UTF-8 bytes that each row's tokens with loss spell, without the chat format's symbols."""
    symbols = {tokenizer.symbol_id(symbol) for symbol in chat.structure()}
    return np.array([_bytes_of(rows[number], tokenizer, symbols) for number in range(len(rows))], np.float64)


def _bytes_of(row: Row, tokenizer: Tokenizer, symbols: set[int]) -> int:
    total = 0
    for segment in range(1, int(row["segments"].max()) + 1):
        learnt = row["tokens"][(row["segments"] == segment) & (row["loss_mask"] > 0)]
        total += len(tokenizer.decode([token for token in learnt.tolist() if token not in symbols]).encode())
    return total


def ratio_with_interval(
    above_R: Float[np.ndarray, " R"], below_R: Float[np.ndarray, " R"]
) -> tuple[float, float, float]:
    """Sum over sum, and the ends of its 95 % interval with rows taken as drawn (the ratio estimator's, Student's t).

    W. Cochran, Sampling Techniques, equation 6.9: the variance is that of above - ratio · below. One row has no
    interval: NaN ends.
    """
    count, total = len(above_R), float(below_R.sum())
    ratio = float(above_R.sum()) / total
    if count < 2:
        return ratio, float("nan"), float("nan")
    spread = float(np.sqrt(count / (count - 1) * np.sum((above_R - ratio * below_R) ** 2))) / total
    reach = float(stats.t.ppf(0.975, count - 1)) * spread
    return ratio, ratio - reach, ratio + reach


def _named(name: str, value: float, low: float, high: float) -> dict[str, float]:
    ends = {f"{name}/low": low, f"{name}/high": high}
    return {name: value} | {key: end for key, end in ends.items() if np.isfinite(end)}
