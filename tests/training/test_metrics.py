import json
import math
import os

import forked
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl
from reasoning.training.metrics import MetricsLog, rollout_files, rollouts_file


def test_records_are_sorted_exact_and_the_same_bytes_whatever_the_type_of_number(tmp_path):
    log = MetricsLog(tmp_path / "made on demand")
    log.record(1, {"loss": 0.1, "kl": 2.0, "count": 3})
    log.record(np.int64(1), {"count": np.int32(3), "loss": np.float64(0.1), "kl": jnp.float32(2)})
    expected = b'{"count": 3, "kl": 2.0, "loss": 0.1, "step": 1}\n'
    assert (tmp_path / "made on demand" / "metrics.jsonl").read_bytes() == expected * 2


def test_a_float32_is_read_back_to_the_last_bit(tmp_path):
    value = np.float32(1) / np.float32(3)
    MetricsLog(tmp_path).record(1, {"loss": jnp.asarray(value)})
    (record,) = read_jsonl(tmp_path / "metrics.jsonl")
    assert np.float32(record["loss"]) == value
    assert record["loss"] == float(value)


def test_what_is_not_finite_is_valid_json_and_reads_back_by_float(tmp_path):
    MetricsLog(tmp_path).record(1, {"a": math.nan, "b": jnp.inf, "c": np.float32(-np.inf)})
    (record,) = read_jsonl(tmp_path / "metrics.jsonl")
    assert record == {"step": 1, "a": "nan", "b": "inf", "c": "-inf"}
    assert math.isnan(float(record["a"])) and float(record["c"]) == -math.inf


def test_timings_go_to_a_file_of_their_own(tmp_path):
    log = MetricsLog(tmp_path)
    log.timing(1, {"seconds": 0.5})
    log.record(1, {"loss": 1.0})
    log.flush()
    assert read_jsonl(tmp_path / "timings.jsonl") == [{"step": 1, "seconds": 0.5}]
    assert read_jsonl(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]


def test_truncating_and_running_on_gives_the_bytes_of_an_uninterrupted_run(tmp_path):
    def run(log, steps):
        for step in steps:
            log.record(step, {"loss": 1 / step})
            log.timing(step, {"seconds": 1.0})

    whole, cut = MetricsLog(tmp_path / "whole"), MetricsLog(tmp_path / "cut")
    run(whole, range(1, 11))
    run(cut, range(1, 8))
    for name in ("metrics.jsonl", "timings.jsonl"):
        with open(tmp_path / "cut" / name, "ab") as file:
            file.write(b'{"loss": 0.1\xc3')  # a line that a kill cut off inside a character
    cut.resume(4, tmp_path / "no copies", print)
    run(cut, range(5, 11))
    for name in ("metrics.jsonl", "timings.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_probes_and_rollouts_of_later_steps_go_too(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (4, 8):
        log.probe(step, [{"problem": 0, "text": "ä = 1"}, {"problem": 1, "text": "x\n"}])
    (tmp_path / "rollouts").mkdir()
    for step in (4, 5, 123456789):
        rollouts_file(tmp_path, step).write_text(str(step))
    (tmp_path / "rollouts" / "step_9.csv").write_text("somebody's own")
    assert rollouts_file(tmp_path, 12).name == "step_000012.parquet"
    log.resume(4, tmp_path / "no copies", print)
    assert read_jsonl(tmp_path / "probes.jsonl") == [
        {"step": 4, "problem": 0, "text": "ä = 1"},
        {"step": 4, "problem": 1, "text": "x\n"},
    ]
    assert list(rollout_files(tmp_path)) == [4] and (tmp_path / "rollouts" / "step_9.csv").exists()


def test_truncating_at_the_last_step_still_drops_the_half_written_line(tmp_path):
    log = MetricsLog(tmp_path)
    log.record(1, {"loss": 1.0})
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(whole + whole[:-1])  # complete but for its end
    log.resume(1, tmp_path / "no copies", print)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def test_truncating_where_nothing_was_written_does_nothing(tmp_path):
    MetricsLog(tmp_path).resume(0, tmp_path / "no copies", print)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", [b"rubbish", b"[1]", b'{"loss": 1}', b'{"step": "1"}', b'{"step": 1, "loss": NaN}'])
def test_truncating_refuses_rubbish_with_file_and_line_and_leaves_it(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    content = b'{"step": 1}\n' + line + b'\n{"step": 3}\n'
    path.write_bytes(content)
    with pytest.raises(InputError, match="metrics.jsonl:2: "):
        MetricsLog(tmp_path).resume(1, tmp_path / "no copies", print)
    assert path.read_bytes() == content


def saved(log, folder):
    """A checkpoint's copies, as ``fit`` has them written."""
    folder.mkdir()
    for name, content in log.copies().items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def resumable(tmp_path):
    """A log of three steps, of which a checkpoint knows two, with a table for each."""
    log = MetricsLog(tmp_path / "stage")
    for step in (1, 2, 3):
        log.record(step, {"loss": 1 / step})
        log.timing(step, {"seconds": 1.0})
        rollouts_file(log.folder, step).parent.mkdir(exist_ok=True)
        rollouts_file(log.folder, step).write_bytes(bytes(step))
        if step == 2:
            checkpoint = saved(log, tmp_path / "checkpoint")
            expected = {path.name: path.read_bytes() for path in log.folder.rglob("*") if path.is_file()}
    return log, checkpoint, expected


def left(log):
    return {path.name: path.read_bytes() for path in log.folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl"])
@pytest.mark.parametrize("place", [0, 9, 12, None])
def test_a_damaged_record_is_told_and_its_copy_in_the_checkpoint_takes_its_place(resumable, name, place):
    log, checkpoint, expected = resumable
    content = bytearray((log.folder / name).read_bytes())
    if place is None:
        (log.folder / name).unlink()
    else:
        content[place] ^= 1
        (log.folder / name).write_bytes(content)
    told = []
    log.resume(2, checkpoint, told.append)
    assert left(log) == expected
    assert [f"{log.folder / name} isn't as it was written" in line for line in told] == [True]


def test_what_came_after_the_checkpoint_goes_without_a_word_however_it_looks(resumable):
    log, checkpoint, expected = resumable
    with open(log.folder / "metrics.jsonl", "ab") as file:
        file.write(b"\xff rubbish")
    told = []
    log.resume(2, checkpoint, told.append)
    assert left(log) == expected and told == []
    log.resume(0, checkpoint.with_name("none"), told.append)
    assert left(log) == {"metrics.jsonl": b"", "timings.jsonl": b""} and told == []


def test_a_damaged_table_is_told_and_set_aside(resumable):
    log, checkpoint, _ = resumable
    rollouts_file(log.folder, 2).write_bytes(b"xx")
    told = []
    log.resume(2, checkpoint, told.append)
    assert list(rollout_files(log.folder)) == [1]
    assert rollouts_file(log.folder, 2).with_suffix(".parquet.damaged").read_bytes() == b"xx"
    [line] = told
    assert "step_000002.parquet has other content than was written" in line


def test_a_process_that_does_not_write_touches_nothing(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 9}\n')
    log = MetricsLog(tmp_path, write=False)
    log.record(1, {"loss": 1.0})
    log.timing(1, {"seconds": 1.0})
    log.resume(1, tmp_path / "no copies", print)
    log.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 9}\n'


def test_a_metric_can_not_take_the_name_of_the_step(tmp_path):
    with pytest.raises(ValueError, match="step"):
        MetricsLog(tmp_path).record(1, {"step": 2.0})


def test_a_full_disk_is_reported_by_file_and_the_next_run_goes_on(tmp_path):
    code = """
import pathlib, resource, signal, sys
from reasoning.core.errors import InputError
from reasoning.training.metrics import MetricsLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
try:
    for step in range(9):
        MetricsLog(pathlib.Path(sys.argv[1])).record(step, {"loss": 0.5})
except InputError as error:
    print(error)
"""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    out = forked.run(["-c", code, str(tmp_path)], environment, 100).stdout
    assert out.startswith(f"could not write {tmp_path / 'metrics.jsonl'}: [Errno 27]")
    MetricsLog(tmp_path).resume(8, tmp_path / "no copies", print)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": step, "loss": 0.5} for step in (0, 1)]
