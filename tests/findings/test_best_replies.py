"""The best-paid replies of each reward: the right ones, of the last step alone, with what was given and why."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rewarded_rows import write_rewarded_step

from reasoning.core.errors import InputError
from reasoning.findings.best_replies import read_best
from reasoning.training.metrics import rollouts_file


def shown(folder: Path) -> dict[str, list[str]]:
    best = read_best(folder, "zero")
    assert best is not None
    return {name: [group.completions[0].text for group in groups] for name, groups in best.rewards.items()}


@pytest.mark.parametrize("seed", range(4))
def test_they_are_the_first_of_the_rows_sorted_by_each_reward_alone_one_a_problem(tmp_path: Path, seed: int):
    rewards = {
        name: np.random.default_rng([seed, place]).integers(0, 6, 80) / 4
        for place, name in enumerate(("strict", "tagged"))
    }
    rewards["tagged"][::3] = np.nan
    write_rewarded_step(tmp_path, 5, 80, rewards)
    write_rewarded_step(tmp_path, 4, 80, {"other": np.ones(80)})
    for name, values in rewards.items():
        tops = [(np.nanmax(values[4 * g : 4 * g + 4], initial=-1), -g) for g in range(20)]
        firsts = [-minus for value, minus in sorted(tops, reverse=True)[:3]]
        expected = [4 * g + int(np.nanargmax(values[4 * g : 4 * g + 4])) for g in firsts]
        assert shown(tmp_path)[name] == [f"reply {row}" for row in expected]
    assert list(shown(tmp_path)) == ["strict", "tagged"]


def test_of_many_rows_only_numbers_and_the_best_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = 20000
    values = np.zeros(rows)
    values[[19999, 9000, 5]] = 3, 2, 1
    file = write_rewarded_step(tmp_path, 1, rows, {"strict": values})
    read, iterate = [], pq.ParquetFile.iter_batches

    def counted(self, size, row_groups, columns):
        for batch in iterate(self, size, row_groups=row_groups, columns=columns):
            read.append((len(batch), columns))
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    assert shown(tmp_path) == {"strict": ["reply 19999", "reply 9000", "reply 5"]}
    assert max(count for count, _ in read) <= 4096 and not any(
        "log_probs" in name for _, names in read for name in names
    )
    assert file.exists()


def test_a_stage_without_rollouts_or_without_rewards_has_none(tmp_path: Path):
    assert read_best(tmp_path, "base") is None
    write_rewarded_step(tmp_path, 1, 8, {})
    assert read_best(tmp_path, "student") is None
    write_rewarded_step(tmp_path, 2, 8, {"strict": np.full(8, np.nan)})
    best = read_best(tmp_path, "zero")
    assert best is not None and best.rewards == {"strict": ()}


@pytest.mark.parametrize("content", [b"PAR1 rubbish", b""])
def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path, content: bytes):
    rollouts_file(tmp_path, 3).parent.mkdir()
    rollouts_file(tmp_path, 3).write_bytes(content)
    with pytest.raises(InputError, match=r"step_000003.parquet is damaged .* --from zero"):
        read_best(tmp_path, "zero")


def test_a_file_without_the_columns_of_rollouts_is_damaged(tmp_path: Path):
    rollouts_file(tmp_path, 3).parent.mkdir()
    pq.write_table(pa.table({"rewards/strict": [1.0]}), rollouts_file(tmp_path, 3))
    with pytest.raises(InputError, match=r"step_000003.parquet is damaged .*group"):
        read_best(tmp_path, "zero")
