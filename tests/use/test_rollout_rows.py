import numpy as np
import pytest
from rollout_files import rollout_rows, write_rollouts

from reasoning.core.errors import InputError
from reasoning.use.rollout_rows import LISTS, open_rollouts, rows_by_number


@pytest.mark.parametrize("row_group", [1, 7, 10_000])
def test_rows_come_by_their_numbers_in_the_order_asked_for_however_they_are_grouped(tmp_path, row_group):
    file, every = write_rollouts(tmp_path, 3, problems=9, samples=5, row_group=row_group), rollout_rows(3, 9, 5)
    numbers = np.random.default_rng(row_group).integers(0, 45, 30).tolist()
    with open_rollouts(file) as opened:
        names = opened.schema_arrow.names
        assert set(LISTS) <= set(names)
        assert rows_by_number(opened, numbers, names) == [every[number] for number in numbers]
        assert rows_by_number(opened, [44, 0], ["group"]) == [{"group": 8}, {"group": 0}]
        assert rows_by_number(opened, [], names) == []


def test_only_the_row_groups_that_hold_them_are_read(tmp_path, monkeypatch):
    with open_rollouts(write_rollouts(tmp_path, 3, problems=10, samples=10, row_group=10)) as opened:
        read, plain = [], opened.iter_batches
        monkeypatch.setattr(
            opened, "iter_batches", lambda *given, **options: read.append(options) or plain(*given, **options)
        )
        rows_by_number(opened, [95, 31, 38, 92], ["step"])
    assert [options["row_groups"] for options in read] == [[3], [9]]


def test_a_damaged_file_is_said(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="a.parquet is damaged or gone"):
        open_rollouts(tmp_path / "a.parquet")
