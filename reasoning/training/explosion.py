"""Whether training has exploded without ever being not finite, which no guard of a step can tell.

Two signs, each so far out that no healthy run shows it. Parameters with a root mean square above 100: those of working
models lie below 1, a few published embeddings at some tens. And, where the loss is one of tokens that are to be
predicted, an end above 20 nats a token that is also twice the first step's: a uniform guess among 256,000 tokens costs
12.5, and a loss that is scaled up (a temperature's square) is so from the start. A peak on the way, of a warm-up, is
neither: the end is a median of several steps. The loss of a policy gradient is near 0 whatever the policy does, so only
parameters tell of it. A last loss that isn't finite counts as well.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from reasoning.training.metrics import METRICS

_LARGEST_RMS = 100.0
_LARGEST_LOSS = 20.0
_GROWTH = 2.0
_LAST = 5
_LINE = 1 << 16
"""Bytes that a step's metrics take at most; of a longer line nothing is told."""

_CHUNK = 1 << 22
"""Numbers that are squared at once."""

_RMS, _FIRST, _FINAL = "exploded/parameters", "exploded/first_loss", "exploded/loss"
"""Results of a stage that exploded: its parameters' root mean square, and its first and last loss where it tells."""


def explosion(folder: Path, params: Any, by_loss: bool) -> dict[str, float]:
    """What a stage adds to its results if its training exploded; nothing if it didn't.

    ``folder`` holds its metrics, ``params`` are what trained, of which this process looks at its own part. ``by_loss``
    says whether the loss is one of tokens that are to be predicted.
    """
    size, losses = root_mean_square(params), _losses(folder / METRICS)
    found = {_RMS: size}
    if losses:
        first, last = losses[0], median(losses[1:] or losses)
        grown = by_loss and last > max(_LARGEST_LOSS, _GROWTH * first)
        if grown or not math.isfinite(losses[-1]):
            return found | {name: value for name, value in ((_FIRST, first), (_FINAL, last)) if math.isfinite(value)}
    return found if not size <= _LARGEST_RMS else {}


def explosion_words(results: Mapping[str, Any]) -> str:
    """What is said of a stage with these results: that it exploded, by which numbers, and what to do; else nothing."""
    if _RMS not in results:
        return ""
    told = f"its parameters end with a root mean square of {results[_RMS]:.3g} (those of working models lie below 1)"
    if _FINAL in results:
        told += f", its loss at {results[_FINAL]:.3g}"
    if _FIRST in results:
        told += f" from {results[_FIRST]:.3g}"
    return f"its training exploded: {told}; lower the learning rate or look at the data, and use nothing made from it"


def root_mean_square(params: Any) -> float:
    """The root mean square of all numbers of a tree of arrays, as far as this process holds them; 0 of none."""
    total, count = 0.0, 0
    for part in _parts(params):
        total += float(np.sum(np.square(part.astype(np.float64))))
        count += part.size
    return math.sqrt(total / max(count, 1))


def _parts(params: Any) -> Iterator[np.ndarray]:
    for leaf in jax.tree.leaves(params):
        shards = [shard.data for shard in leaf.addressable_shards if shard.replica_id == 0]
        for shard in shards:
            values = np.asarray(shard).reshape(-1)
            yield from (values[start : start + _CHUNK] for start in range(0, values.size, _CHUNK))


def _losses(file: Path) -> list[float]:
    """The loss of the first step and those of the last few; nothing where this process keeps no record."""
    if not file.exists():
        return []
    with open(file, "rb") as lines:
        first = lines.readline(_LINE)
        size = file.stat().st_size
        lines.seek(max(len(first), size - _LAST * _LINE))
        last = lines.read().splitlines()[-_LAST:]
    return [loss for line in (first, *last) if (loss := _loss(line)) is not None]


def _loss(line: bytes) -> float | None:
    try:
        return float(json.loads(line)["loss"])
    except (ValueError, KeyError, TypeError):
        return None
