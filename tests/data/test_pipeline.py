import json
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from reasoning.core.errors import InputError
from reasoning.data.pipeline import item_batches, token_batches
from reasoning.data.records import keep_rows, read_records, write_records

STEPS = 12


def numbers(count=10, batch_size=4, seed=0, process_index=0, process_count=1, prefetch=0):
    """Batches whose items are their own numbers."""
    return item_batches(
        range(count),
        batch_size=batch_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
        prefetch=prefetch,
    )


def stream(batches, steps=STEPS):
    return [number for step in range(steps) for number in batches[step]]


def first(iterator, steps):
    return [next(iterator) for _ in range(steps)]


@pytest.mark.parametrize("process_count", [1, 2, 4])
@pytest.mark.parametrize("count", [10, 7, 3])
def test_global_batches_hold_the_same_rows_for_any_number_of_processes(process_count, count):
    alone = numbers(count=count)
    together = [numbers(count, process_index=p, process_count=process_count) for p in range(process_count)]
    for step in range(STEPS):
        parts = [part[step] for part in together]
        assert [len(part) for part in parts] == [4 // process_count] * process_count
        # The k-th rows of all processes, in turn, are the batch of one process in its order.
        assert [part[k] for k in range(len(parts[0])) for part in parts] == alone[step]


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5])
def test_every_epoch_holds_every_row_once_in_an_order_of_its_own(seed):
    epochs = np.array(stream(numbers(seed=seed), steps=15)).reshape(6, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_neighbouring_seeds_do_not_share_the_orders_of_their_epochs():
    orders = [tuple(stream(numbers(seed=seed), steps=15)[e : e + 10]) for seed in range(20) for e in range(0, 60, 10)]
    assert len(set(orders)) == 120


def test_the_first_row_of_an_epoch_is_any_row_equally_often():
    firsts = [stream(numbers(count=5, batch_size=1, seed=seed), steps=1)[0] for seed in range(1000)]
    expected, spread = 200, np.sqrt(1000 * 0.2 * 0.8)
    assert (abs(np.bincount(firsts, minlength=5) - expected) < 4 * spread).all()


@pytest.mark.parametrize("prefetch", [0, 3])
def test_an_iterator_gives_the_batches_by_number_and_resumes_exactly_after_every_one(prefetch):
    batches = numbers(prefetch=prefetch)
    iterator = iter(batches)
    expected, states = [], []
    for _ in range(STEPS):
        states.append(json.dumps(iterator.get_state()))
        expected.append(next(iterator))
    assert expected == [batches[step] for step in range(STEPS)]
    for step, state in enumerate(states):
        resumed = iter(numbers(prefetch=prefetch))
        resumed.set_state(json.loads(state))
        assert first(resumed, STEPS - step) == expected[step:]
    iterator.set_state(json.loads(states[3]))
    assert first(iterator, 4) == expected[3:7]


def test_a_batch_larger_than_the_dataset_takes_whole_epochs():
    batch = numbers(count=3, batch_size=8)[0]
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2] and len(batch) == 8


def test_other_seeds_give_other_orders_and_equal_seeds_the_same():
    assert stream(numbers(seed=1)) == stream(numbers(seed=1)) != stream(numbers(seed=2))


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_token_batches_stack_the_rows_of_a_dataset_read_from_disk_or_kept(tmp_path, limit):
    columns = ("tokens", "positions", "segments", "loss_mask")
    rows = [{name: np.full(5, 10 * n + k, np.int32) for k, name in enumerate(columns)} for n in range(6)]
    features = {name: tfds.features.Tensor(shape=(5,), dtype=np.int32) for name in columns}
    write_records(tmp_path / "rows", rows, features)
    source = keep_rows(read_records(tmp_path / "rows"), limit)
    batches = token_batches(source, batch_size=4, seed=3, process_index=1, process_count=2, prefetch=1)
    chosen = numbers(count=6, seed=3, process_index=1, process_count=2)
    for step, batch in zip(range(5), batches, strict=False):
        assert set(batch) == set(columns)
        for name in columns:
            expected = np.stack([rows[number][name] for number in chosen[step]])
            assert batch[name].dtype == np.int32 and batch[name].shape == (2, 5)
            np.testing.assert_array_equal(batch[name], expected)


def test_the_overhead_of_a_batch_stays_in_the_order_of_a_millisecond():
    rows = [{name: np.zeros(64, np.int32) for name in "abcd"} for _ in range(1000)]
    iterator = iter(token_batches(rows, batch_size=24, seed=0, process_index=0, process_count=1, prefetch=0))
    next(iterator)
    start = time.process_time()
    first(iterator, 100)
    assert (time.process_time() - start) / 100 < 5e-3  # 0.4 ms on a quiet core; a row-by-row reader needs far more


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"count": 0}, "no rows"),
        ({"batch_size": 6, "process_count": 4}, "multiple of 4"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"seed": -1}, "negative, got -1"),
        ({"process_index": 2, "process_count": 2}, "process_index 2 must lie in 0..1"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        numbers(**settings)
