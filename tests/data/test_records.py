import json
import os
import subprocess
import sys

import forked
import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds

from reasoning.core.errors import InputError
from reasoning.data import records
from reasoning.data.records import (
    ROWS_A_BLOCK,
    join_parts,
    keep_rows,
    read_records,
    take_rows,
    write_part,
    write_records,
)

FEATURES = {
    "tokens": tfds.features.Tensor(shape=(5,), dtype=np.int32),
    "reward": tfds.features.Scalar(np.float32),
    "prompt": tfds.features.Text(),
}


def rows(count):
    drawn = np.random.default_rng(0)
    return [
        {"tokens": drawn.integers(-9, 2**31, 5).astype(np.int32), "reward": np.float32(n / 3), "prompt": f"é\n{n}"}
        for n in range(count)
    ]


def assert_equal_rows(found, expected):
    assert len(found) == len(expected)
    for left, right in zip(found, expected, strict=True):
        assert left["tokens"].dtype == np.int32
        np.testing.assert_array_equal(left["tokens"], right["tokens"])
        assert left["reward"] == right["reward"] and left["prompt"].decode() == right["prompt"]


def test_rows_come_back_in_order_and_value_for_value_across_blocks(tmp_path):
    written = rows(ROWS_A_BLOCK + 3)
    assert write_records(tmp_path / "set", iter(written), FEATURES) == len(written)
    assert_equal_rows(take_rows(read_records(tmp_path / "set"), range(len(written))), written)


def test_tfds_itself_reads_the_folder_without_tensorflow(tmp_path):
    write_records(tmp_path / "set", rows(4), FEATURES)
    builder = tfds.builder_from_directory(tmp_path / "set")
    assert builder.info.splits["train"].num_examples == 4
    assert_equal_rows(list(builder.as_data_source(split="train")), rows(4))
    assert "tensorflow" not in sys.modules


def test_grain_takes_the_records_as_a_source(tmp_path):
    write_records(tmp_path / "set", rows(7), FEATURES)
    assert_equal_rows(list(grain.MapDataset.source(read_records(tmp_path / "set"))), rows(7))


WRITE = """
import sys
from pathlib import Path
import numpy as np
import tensorflow_datasets as tfds
from reasoning.data.records import write_records
columns = ("tokens", "positions", "segments", "loss_mask", "reward", "prompt")
features = {name: tfds.features.Tensor(shape=(3,), dtype=np.int32) for name in columns}
row = {name: np.arange(3, dtype=np.int32) for name in columns}
write_records(Path(sys.argv[1]), [row] * 9, features)
"""


def test_equal_rows_give_equal_bytes_in_every_process(tmp_path):
    anew = subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path / "a")])
    assert forked.run(["-c", WRITE, str(tmp_path / "b")], os.environ, 100).returncode == anew.wait() == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 3
    for name in names:
        assert len({(tmp_path / process / name).read_bytes() for process in "ab"}) == 1, name


def test_many_rows_go_to_several_files_and_come_back_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_ROWS_A_SHARD", 4)
    assert write_records(tmp_path / "set", rows(8), FEATURES) == 8
    assert len(list((tmp_path / "set").glob("*array_record*"))) == 2
    assert_equal_rows(take_rows(read_records(tmp_path / "set"), range(8)), rows(8))


@pytest.mark.parametrize("limit", [0, 10**6])
def test_keeping_rows_in_memory_changes_nothing_but_the_container(tmp_path, limit):
    features = {"tokens": FEATURES["tokens"]}
    written = [{"tokens": np.full(5, n, np.int32)} for n in range(ROWS_A_BLOCK + 1)]
    write_records(tmp_path / "set", written, features)
    kept = keep_rows(read_records(tmp_path / "set"), limit)
    assert isinstance(kept, list) == (limit > 0)
    assert [row["tokens"][0] for row in take_rows(kept, [0, ROWS_A_BLOCK, 3])] == [0, ROWS_A_BLOCK, 3]
    assert len(kept) == len(written)


def test_no_rows_are_refused_and_leave_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="no rows to write"):
        write_records(tmp_path / "set", [], FEATURES)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_overwritten(tmp_path):
    write_records(tmp_path / "set", rows(2), FEATURES)
    with pytest.raises(InputError, match="exists already"):
        write_records(tmp_path / "set", rows(3), FEATURES)
    assert len(read_records(tmp_path / "set")) == 2


def test_rows_that_stop_half_way_leave_no_dataset_and_the_next_write_starts_afresh(tmp_path):
    def broken():
        yield from rows(ROWS_A_BLOCK)
        raise KeyError("source died")

    with pytest.raises(KeyError):
        write_records(tmp_path / "set", broken(), FEATURES)
    with pytest.raises(InputError, match="no readable TFDS dataset"):
        read_records(tmp_path / "set")
    assert write_records(tmp_path / "set", rows(2), FEATURES) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tokens": np.zeros(4, np.int32)}, r"row 1 does not fit .*Shape \(4,\)"),
        ({"tokens": np.zeros(5, np.float32)}, "row 1 does not fit .*float32"),
        ({"extra": 1}, "row 1 has columns .*extra"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, change, match):
    first, second = rows(2)
    with pytest.raises(InputError, match=match):
        write_records(tmp_path / "set", [first, second | change], FEATURES)


def test_damaged_files_are_refused(tmp_path):
    write_records(tmp_path / "set", rows(300), FEATURES)
    (path,) = (tmp_path / "set").glob("*array_record*")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(InputError, match="damaged"):
        keep_rows(read_records(tmp_path / "set"), 10**9)
    for length in (1000, 1 << 16, 100_000):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged"):
            read_records(tmp_path / "set")
    path.unlink()
    with pytest.raises(InputError, match="damaged"):
        read_records(tmp_path / "set")
    (tmp_path / "set" / "dataset_info.json").write_text("{")
    with pytest.raises(InputError, match="no readable TFDS dataset"):
        read_records(tmp_path / "set")


def changed(path, change):
    """A JSON file of a dataset with one thing changed."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_more_rows_than_the_files_can_hold_are_refused_at_once(tmp_path):
    write_records(tmp_path / "set", rows(4), FEATURES)
    info = tmp_path / "set" / "dataset_info.json"
    changed(info, lambda content: content["splits"][0].update(shardLengths=[str(10**12)]))
    with pytest.raises(InputError, match=r"dataset_info.json claims 1,000,000,000,000 rows"):
        read_records(tmp_path / "set")
    changed(info, lambda content: content["splits"][0].update(shardLengths=["5"]))
    with pytest.raises(InputError, match="damaged"):
        read_records(tmp_path / "set")
    changed(info, lambda content: content.update(splits=[7]))
    with pytest.raises(InputError, match="no readable TFDS dataset: .*has 7 where a table is expected"):
        read_records(tmp_path / "set")


def test_code_that_a_dataset_names_is_never_imported(tmp_path, monkeypatch):
    """TFDS imports the module of any feature that ``features.json`` names, to have the feature registered."""
    (tmp_path / "theirs.py").write_text("raise SystemExit('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    write_records(tmp_path / "set", rows(4), FEATURES)
    features = tmp_path / "set" / "features.json"
    changed(features, lambda content: content["featuresDict"]["features"]["prompt"].update(pythonClassName="theirs.A"))
    with pytest.raises(InputError, match="features.json names 'theirs.A', a class outside TFDS"):
        read_records(tmp_path / "set")


@pytest.mark.parametrize(
    "content", ["{", "[]", "5", '{"featuresDict": 3}', "[" * 5000, '{"type": "a.B", "content": 0}']
)
def test_features_that_are_none_are_refused(tmp_path, content):
    write_records(tmp_path / "set", rows(4), FEATURES)
    (tmp_path / "set" / "features.json").write_text(content)
    with pytest.raises(InputError, match="no readable TFDS dataset"):
        read_records(tmp_path / "set")


@pytest.mark.parametrize("linked", [True, False])
def test_files_written_one_by_one_make_the_dataset_that_one_writer_makes(tmp_path, monkeypatch, linked):
    if not linked:  # a file system without links
        monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    written = rows(7)
    parts = []
    for number, some in enumerate((written[:3], [], written[3:])):
        file = tmp_path / f"part-{number}"
        parts.append((file, *write_part(file, iter(some), FEATURES)))
    assert [count for _, count, _ in parts] == [3, 0, 4]
    for name in ("set", "again"):  # the parts stay
        join_parts(tmp_path / name, parts, FEATURES)
        assert_equal_rows(take_rows(read_records(tmp_path / name), range(7)), written)
    monkeypatch.setattr(records, "_ROWS_A_SHARD", 4)
    write_records(tmp_path / "whole", written[3:] + written[:3], FEATURES)
    join_parts(tmp_path / "turned", [parts[2], parts[0]], FEATURES)
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "turned" / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        join_parts(tmp_path / "set", parts, FEATURES)
    with pytest.raises(InputError, match="no rows to write"):
        join_parts(tmp_path / "none", [parts[1]], FEATURES)


def test_a_file_whose_rows_stop_half_way_leaves_nothing(tmp_path):
    def stopping():
        yield rows(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_part(tmp_path / "part", stopping(), FEATURES)
    assert not list(tmp_path.iterdir())
