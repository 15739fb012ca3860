"""Some rows of a file of rollouts, by their numbers: only what holds them is read, so a file may have millions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reasoning.core.errors import InputError
from reasoning.rollouts.record import DETAIL, FAILING, VERDICT

REWARDS = "rewards/"
"""How columns of rewards begin."""

LISTS = ("sampler_log_probs", "trainer_log_probs", "trainer_entropies")
"""Columns with a number a token, which are most of a file."""

_BATCH = 4096


def open_rollouts(path: Path) -> pq.ParquetFile:
    """The file, to be closed by who asked. Raises InputError where it can't be read."""
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is damaged or gone ({error})") from None


def rows_by_number(file: pq.ParquetFile, numbers: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of these numbers, in that order. Only row groups that hold some are read, a batch at a time."""
    wanted = np.unique(np.asarray(numbers, np.int64))
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
    found: dict[int, dict[str, Any]] = {}
    for group, start in enumerate(np.cumsum([0, *sizes])[:-1].tolist()):
        inside = wanted[(wanted >= start) & (wanted < start + sizes[group])]
        found |= _of_group(file, group, start, inside, columns) if len(inside) else {}
    return [found[number] for number in numbers]


def named(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with rewards and verdicts as mappings of their own: name -> value, name -> (verdict, test, detail)."""
    plain = {name: value for name, value in row.items() if "/" not in name}
    rewards = {name.removeprefix(REWARDS): value for name, value in row.items() if name.startswith(REWARDS)}
    verdicts = {name.removeprefix(VERDICT): value for name, value in row.items() if name.startswith(VERDICT) and value}
    reasons = {
        name: (verdict, row.get(FAILING + name), row.get(DETAIL + name) or "") for name, verdict in verdicts.items()
    }
    return plain | {"rewards": rewards, "verdicts": reasons}


def _of_group(
    file: pq.ParquetFile, group: int, start: int, wanted: np.ndarray, columns: Sequence[str]
) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for batch in file.iter_batches(_BATCH, row_groups=[group], columns=list(columns)):
        inside = wanted[(wanted >= start) & (wanted < start + len(batch))]
        found |= zip(inside.tolist(), batch.take(pa.array(inside - start)).to_pylist(), strict=True)
        start += len(batch)
        if len(found) == len(wanted):
            break
    return found
