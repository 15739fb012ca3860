"""What was measured as tables for notebooks: Arrow's, of which pandas (``.to_pandas()``) and Polars make their own."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from reasoning.core.errors import InputError
from reasoning.core.files import is_number
from reasoning.evaluation.results import Results, Scores


def metrics_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A stage's metrics, a row a step and a column each, ``step`` first; null where a step hasn't the number."""
    rows = list(rows)
    names = dict.fromkeys(("step", *(name for row in rows for name in row)))
    return pa.table({name: [row.get(name) if is_number(row.get(name)) else None for row in rows] for name in names})


def scores_table(results: Results) -> pa.Table:
    """An exam's scores, a row each: whose, in which ``style`` and of which ``kind`` of problem (empty: all), which.

    ``mean``, its 95 % interval ``low`` to ``high`` (null: none), the ``n`` problems, the share that was ``ungraded``.
    """
    parts = [{"style": "", "kind": "", "tables": results.checkpoints}]
    for name, of in (("style", results.styles), ("kind", results.kinds)):
        each = dict.fromkeys(part for tables in of.values() for part in tables)
        parts += [
            {"style": "", "kind": "", name: part, "tables": {who: by[part] for who, by in of.items() if part in by}}
            for part in each
        ]
    rows = [row for part in parts for row in _score_rows(**part)]
    return pa.Table.from_pylist(rows, schema=_SCORES)


_SCORES = pa.schema(
    [(name, pa.string()) for name in ("checkpoint", "style", "kind", "score")]
    + [("mean", pa.float64()), ("low", pa.float64()), ("high", pa.float64()), ("n", pa.int64())]
    + [("ungraded", pa.float64())]
)


def _score_rows(style: str, kind: str, tables: Mapping[str, Scores]) -> Iterator[dict[str, Any]]:
    for checkpoint, scores in tables.items():
        for name, score in scores.items():
            yield {"checkpoint": checkpoint, "style": style, "kind": kind, "score": name, **vars(score)}


def sweep_table(folder: str | os.PathLike[str]) -> pa.Table:
    """``table.csv`` of a sweep's folder: rows ``seed`` (one run's value), and ``summary`` (an arm over its seeds).

    Columns are those of ``findings.sweep_words.COLUMNS``. Raises InputError where the folder has no table.
    """
    file = Path(folder) / "table.csv"
    texts = {name: pa.string() for name in ("row", "arm", "settings", "state", "score", "verdict")}
    try:
        return arrow_csv.read_csv(file, convert_options=arrow_csv.ConvertOptions(column_types=texts))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} can't be read ({error}); give the --out of a sweep") from None
