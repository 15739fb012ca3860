"""The replies that each reward paid best, where it is seen whether they earned it; of a stage's last kept step only."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reasoning.core.errors import InputError
from reasoning.findings.rollouts import CompletionGroup, groups_of_rollouts
from reasoning.training.metrics import rollout_files
from reasoning.use.rollout_rows import LISTS, REWARDS, rows_by_number

_SHOWN_REPLIES = 3


@dataclass(frozen=True)
class BestReplies:
    """What each of a stage's rewards paid best at the ``step`` that was kept last.

    ``rewards`` are by name in the order of the stage's settings, each with single completions, the best first.
    """

    step: int
    rewards: dict[str, tuple[CompletionGroup, ...]]


def read_best(folder: Path, stage: str) -> BestReplies | None:
    """The best replies in a stage's folder, no two of them to one problem, equals in the order of the file.

    None where it kept none with rewards. One file is read, of which no more than numbers and a few rows are held, so a
    step may have a million of them. Raises InputError where that file is damaged.
    """
    files = rollout_files(folder)
    if not files:
        return None
    step = max(files)
    try:
        file = pq.ParquetFile(files[step])
        columns = [name for name in file.schema_arrow.names if name not in LISTS]
        names = [name for name in file.schema_arrow.names if name.startswith(REWARDS)]
        if not names:
            return None
        numbers = file.read(columns=["group", *names])
        groups = numbers["group"].to_numpy()
        chosen = {name: _best(numbers[name], groups) for name in names}
        wanted = sorted({row for each in chosen.values() for row in each})
        rows = dict(zip(wanted, rows_by_number(file, wanted, columns), strict=True))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"{files[step]} is damaged ({error}); --from {stage} makes the stage anew") from None
    best = {
        name.removeprefix(REWARDS): tuple(groups_of_rollouts([rows[row]])[0] for row in chosen[name]) for name in names
    }
    return BestReplies(step, best)


def _best(values: pa.ChunkedArray, groups: np.ndarray) -> list[int]:
    """The rows with the highest values, one a group; those that have none are no candidates."""
    given = values.to_numpy().astype(np.float64)
    order = np.argsort(-given, kind="stable")  # NaN comes last.
    order = order[: np.count_nonzero(~np.isnan(given))]
    first = np.sort(np.unique(groups[order], return_index=True)[1])
    return order[first[:_SHOWN_REPLIES]].tolist()
