"""The table against a dict of lists, before and after its newest entries are merged."""

import random
from collections import defaultdict

import numpy as np
import pytest

from reasoning.data import hash_table
from reasoning.data.hash_table import HashTable


@pytest.mark.parametrize("recent", [1, 7, 10_000])
def test_what_was_added_under_a_key_is_found_in_its_order(recent: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hash_table, "_RECENT", recent)
    chosen = random.Random(0)
    keys = [chosen.getrandbits(64) for _ in range(40)] + [0, 2**64 - 1]
    table, expected = HashTable(), defaultdict(list)
    for value in range(500):
        wanted = chosen.sample(keys, 3)
        found = table.find(np.array(wanted, np.uint64))
        assert found == [each for key in wanted for each in expected[key]]
        for key in wanted:
            expected[key].append(value)
        table.add(np.array(wanted, np.uint64), value)
    assert len(table.recent) < recent


def test_entries_take_sixteen_bytes_once_they_are_merged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hash_table, "_RECENT", 1000)
    table = HashTable()
    for value in range(300):
        table.add(np.arange(value * 10, value * 10 + 10, dtype=np.uint64), value)
    assert table.keys.nbytes + table.values.nbytes == 16 * 3000 and not table.recent
