"""Conversations as a data set: what collecting stages leave and what packing reads."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.records import read_records, write_records
from reasoning.data.sources import Tfds
from reasoning.stages.checkpoint import RECORDS

_COLUMNS = ("prompt", "completion")
_FEATURES = (*_COLUMNS, "answer", "kind")
_WEIGHT = "loss_weight"


def write_conversations(out: Path, rows: Iterable[Mapping[str, Any]], weighed: bool = False) -> int:
    """Writes rows with the texts ``prompt``, ``completion``, ``answer`` and ``kind``; gives their number.

    Those that are ``weighed`` have a number ``loss_weight`` too (``data.columns``). Rows that lie there already are
    those of a run which was killed before its artifact was finished: they go.
    """
    shutil.rmtree(out / RECORDS, ignore_errors=True)
    features: dict[str, Any] = {name: tfds.features.Text() for name in _FEATURES}
    if weighed:
        features[_WEIGHT] = tfds.features.Scalar(np.float32)
    return write_records(out / RECORDS, rows, features)


def read_conversations(artifacts: Sequence[Artifact], ratio: Sequence[float], where: str) -> tuple[Tfds, ...]:
    """The conversations of several artifacts as sources, mixed in the ``ratio`` of their numbers.

    The first one's conversations occur once each, the others' as often as the ratio asks; without a ratio all occur
    once. Raises InputError, beginning with ``where``, for an artifact without conversations and a ratio of other size.
    """
    if ratio and len(ratio) != len(artifacts):
        raise InputError(
            f"{where}: {len(artifacts)} stages of conversations have the ratio {tuple(ratio)}; give one each"
        )
    counts: list[int] = []
    for artifact in artifacts:
        if artifact.kind != "records":
            raise InputError(
                f"{where}: stage {artifact.stage} left {artifact.kind}, no conversations; name one that collects"
            )
        records = read_records(artifact.records_folder)
        row: dict[str, Any] = records[0]
        if not set(_COLUMNS) <= set(row):
            raise InputError(f"{where}: stage {artifact.stage} left the columns {', '.join(row)}, no conversations")
        counts.append(len(records))
    weights = (
        [counts[0] / count * share / ratio[0] for count, share in zip(counts, ratio, strict=True)]
        if ratio
        else [1.0] * len(counts)
    )
    return tuple(
        Tfds(str(artifact.records_folder), columns=_COLUMNS, weight=weight)
        for artifact, weight in zip(artifacts, weights, strict=True)
    )
