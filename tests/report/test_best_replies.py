"""The best-paid replies of each reward: the right ones, of the last step alone, with what was given and why."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reasoning.core.errors import InputError
from reasoning.report.best_replies import best_grid, read_best
from reasoning.training.metrics import rollouts_file


def write(folder: Path, step: int, rows: int, rewards: dict[str, np.ndarray], **more: list) -> Path:
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
    write(tmp_path, 5, 80, rewards)
    write(tmp_path, 4, 80, {"other": np.ones(80)})
    for name, values in rewards.items():
        tops = [(np.nanmax(values[4 * g : 4 * g + 4], initial=-1), -g) for g in range(20)]
        firsts = [-minus for value, minus in sorted(tops, reverse=True)[:3]]
        expected = [4 * g + int(np.nanargmax(values[4 * g : 4 * g + 4])) for g in firsts]
        assert shown(tmp_path)[name] == [f"reply {row}" for row in expected]
    assert list(shown(tmp_path)) == ["strict", "tagged"]


def test_a_row_tells_the_reward_the_problem_the_reply_and_all_that_was_given_for_it_with_the_verdict(tmp_path: Path):
    rewards = {"code": np.array([0.0, 0, 0, 0, 0, 1, 0, 0]), "tagged": np.full(8, np.nan)}
    verdicts = ["wrong", None, "wrong", "wrong", "wrong", "passed", "wrong", "wrong"]
    write(
        tmp_path, 12, 8, rewards,
        **{"verdicts/code": verdicts, "failing/code": [2] + [None] * 7, "details/code": ["got 3"] + [None] * 7},
    )  # fmt: skip
    grid = best_grid("zero", read_best(tmp_path, "zero"))
    assert grid is not None and grid.caption == "zero, step 12: the best-paid replies of each reward"
    assert grid.columns == ("reward", "problem", "reply") and not grid.numeric
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["code", "question 1", "reply 5"], ["code", "question 0", "reply 0"],
    ]  # fmt: skip
    assert [row[0].detail for row in grid.rows] == ["1", "0"] and grid.rows[0][1].detail == "right answer: 1"
    assert grid.rows[0][2].detail == "#1  reward 0.5  (code 1)  code: passed  advantage 0.00  7 tokens"
    assert "code: wrong at test 2, got 3" in grid.rows[1][2].detail
    assert all(cell.quoted for row in grid.rows for cell in row[1:])


def test_long_texts_are_cut_and_an_empty_one_is_said(tmp_path: Path):
    file = write(tmp_path, 1, 8, {"strict": np.array([1.0, 0, 0, 0, 0.5, 0, 0, 0])})
    table = pq.read_table(file)
    texts = pa.array(["x" * 9000, *[""] * 7])
    pq.write_table(table.set_column(table.schema.get_field_index("completion"), "completion", texts), file)
    grid = best_grid("zero", read_best(tmp_path, "zero"))
    assert grid is not None and grid.rows[0][2].text == "x" * 500 + "… (+8500 characters)"
    assert grid.rows[1][2].text == "(nothing)"


def test_of_many_rows_only_numbers_and_the_best_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = 20000
    values = np.zeros(rows)
    values[[19999, 9000, 5]] = 3, 2, 1
    file = write(tmp_path, 1, rows, {"strict": values})
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
    assert read_best(tmp_path, "base") is None and best_grid("base", None) is None
    write(tmp_path, 1, 8, {})
    assert read_best(tmp_path, "student") is None
    write(tmp_path, 2, 8, {"strict": np.full(8, np.nan)})
    assert best_grid("zero", read_best(tmp_path, "zero")) is None


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
