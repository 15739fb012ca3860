"""Files of rollouts made from numbers alone, as large as one likes, for whatever reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from written_run import HOSTILE

from reasoning.training.metrics import rollouts_file


def rollout_rows(step: int, problems: int, samples: int) -> list[dict[str, Any]]:
    """Rows in the order of the file; a row's numbers follow from where it stands."""
    rows = []
    for group in range(problems):
        for sample in range(samples):
            strict, tagged = float((group + sample) % 3 == 0), None if group % 5 == 4 else float(sample % 2)
            length = 2 + (group * 7 + sample * 3 + step) % 11
            rows.append(
                {
                    "step": step,
                    "prompt": f"{group}+{HOSTILE if group == 1 else 1}?",
                    "group": group,
                    "sample": sample,
                    "completion": HOSTILE if sample == 2 else f"={group} at step {step}",
                    "length": length,
                    "truncated": length > 10,
                    "reward": strict + 0.1 * (tagged or 0.0),
                    "rewards/strict": strict,
                    "rewards/tagged": tagged,
                    "verdicts/strict": "wrong" if not strict else None,
                    "failing/strict": 3 if not strict else None,
                    "details/strict": HOSTILE if not strict else None,
                    "advantage": strict - 0.5,
                    "answer": str(group),
                    "kind": ("chains", "cups")[group % 2],
                    "sampler_log_probs": [-0.5 * (place + 1) for place in range(length)],
                    "trainer_log_probs": [-0.5 * (place + 1) - 0.01 for place in range(length)],
                    "trainer_entropies": [0.25 * place for place in range(length)],
                }
            )
    return rows


def write_rollouts(folder: Path, step: int, problems: int, samples: int, row_group: int = 10) -> Path:
    """Writes a step's file into a stage's folder, in several row groups, and gives its path."""
    table = pa.Table.from_pylist(rollout_rows(step, problems, samples))
    file = rollouts_file(folder, step)
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=row_group, compression="zstd")
    return file


def write_many(file: Path, rows: int, row_group: int = 8192) -> None:
    """A large file of the same columns, without lists of log-probabilities, a row group at a time."""
    random = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, row_group):
        size = min(row_group, rows - start)
        places = np.arange(start, start + size)
        texts = [
            f"<think>{place} and {place * 7919 % 10007}</think><answer>{place % 97}</answer>" * 3 for place in places
        ]
        table = pa.table(
            {
                "step": pa.array(np.ones(size, np.int32)),
                "prompt": [f"{place // 16}+1?" for place in places],
                "group": pa.array((places // 16).astype(np.int32)),
                "sample": pa.array((places % 16).astype(np.int32)),
                "completion": texts,
                "length": pa.array(random.integers(1, 500, size).astype(np.int32)),
                "truncated": pa.array(random.random(size) < 0.1),
                "reward": random.random(size),
                "rewards/strict": np.round(random.random(size)),
                "rewards/tagged": np.round(random.random(size)),
                "advantage": pa.array(random.standard_normal(size).astype(np.float32)),
                "answer": [str(place % 97) for place in places],
                "kind": ["chains"] * size,
            }
        )
        writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=row_group)
    if writer is not None:
        writer.close()
