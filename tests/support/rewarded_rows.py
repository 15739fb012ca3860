"""A step's rollouts with rewards of which only the numbers matter."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reasoning.training.metrics import rollouts_file


def write_rewarded_step(folder: Path, step: int, rows: int, rewards: dict[str, np.ndarray], **more: list) -> Path:
    """A step's file with groups of four; reply k reads ``reply k``."""
    numbers = np.arange(rows)
    columns = {
        "step": np.full(rows, step), "prompt": [f"question {k // 4}" for k in numbers], "group": numbers // 4,
        "sample": numbers % 4, "completion": [f"reply {k}" for k in numbers], "length": np.full(rows, 7),
        "truncated": np.zeros(rows, bool), "reward": np.full(rows, 0.5),
        **{f"rewards/{name}": pa.array(values, pa.float64(), from_pandas=True) for name, values in rewards.items()},
        **more, "advantage": np.zeros(rows), "answer": [str(k // 4) for k in numbers], "kind": ["sums"] * rows,
        "sampler_log_probs": [[-1.0]] * rows, "trainer_log_probs": [None] * rows,
    }  # fmt: skip
    file = rollouts_file(folder, step)
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file
