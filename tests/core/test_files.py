import os
import signal
import subprocess
import sys

import pytest

from reasoning.core import files
from reasoning.core.errors import InputError

HOLD_THE_LOCK = """
import pathlib, sys, time
from reasoning.core.files import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

FILL_THE_DISK = """
import pathlib, resource, signal, sys
from reasoning.core.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(pathlib.Path(sys.argv[1]), b"x" * 5000)
except OSError as error:
    print(type(error).__name__, error.filename)
"""


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    ).stdout.split()


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, "a longer first text: ü")
    assert path.read_bytes() == "a longer first text: ü".encode()
    files.write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert list(tmp_path.iterdir()) == [path]


def test_when_the_disk_is_full_the_old_content_stands_and_no_partial_file_stays(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    assert run_python(FILL_THE_DISK, path) == ["OSError", str(path)]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_holder_is_refused_with_the_first_ones_process_id(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD_THE_LOCK, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        for _ in range(2):  # being refused must not disturb what the next one reads
            with pytest.raises(InputError, match=f"in use by process {holder.pid};"), files.lock(tmp_path):
                pass
    finally:
        holder.kill()
        holder.communicate()
    assert holder.returncode == -signal.SIGKILL
    with files.lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_folder_that_can_not_be_made_is_refused_by_its_name(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with (
        pytest.raises(InputError, match="notes can't be used as a folder: File exists"),
        files.lock(tmp_path / "notes"),
    ):
        raise AssertionError("nothing was locked")
    assert (tmp_path / "notes").read_text() == "mine"


def test_the_lock_is_free_after_its_block_even_if_that_failed(tmp_path):
    folder = tmp_path / "made" / "on demand"
    with pytest.raises(RuntimeError), files.lock(folder):
        raise RuntimeError
    with files.lock(folder), pytest.raises(InputError, match=f"process {os.getpid()};"), files.lock(folder):
        pass


def test_json_written_is_json_read_and_equal_values_give_equal_bytes(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": {"é\u2028": "x"}}
    files.write_json(tmp_path / "one", value)
    files.write_json(tmp_path / "two", dict(reversed(value.items())))
    assert files.read_json(tmp_path / "one") == value
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_could_not_be_read_back_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "one", float("nan"))
    with pytest.raises(InputError, match="a value to be written:1: .*NUL"):
        files.write_json(tmp_path / "one", {"a": "\0"})
    assert list(tmp_path.iterdir()) == []


RUBBISH = {
    "not a number": ('{"a": NaN}', "NaN is not JSON"),
    "infinity in disguise": ('{"a": 1e999}', "1e999 is too large"),
    "infinity by a long number": ('{"a": ' + "9" * 299 + "e99}", "is too large"),
    "infinity by digits": ('{"a": ' + "9" * 310 + ".0}", "is too large"),
    "a key twice": ('{"a": 1, "a": 2}', "a key occurs twice"),
    "half a surrogate pair": (r'{"a": "\ud800"}', "surrogate"),
    "a NUL": (r'{"a": ["\u0000"]}', "NUL"),
    "a NUL in a key": (r'{"\u0000": 1}', "NUL"),
    "cut off": ('{"a": ', "not JSON"),
    "two values": ('{"a": 1} {}', "Extra data"),
    "too deep": ("[" * 100_000, "recursion"),
    "deeper than its limit": ("[" * 101 + "]" * 101, "nests more than 100 deep"),
    "an endless integer": ("9" * 5000, "limit"),
}


@pytest.mark.parametrize(("text", "reason"), RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_refused_with_file_and_line(tmp_path, text, reason):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(InputError, match=f"one.json:1: .*{reason}"):
        files.read_json(tmp_path / "one.json")
    (tmp_path / "many.jsonl").write_text('{"fine": 1}\n' + text + "\n")
    with pytest.raises(InputError, match=f"many.jsonl:2: .*{reason}"):
        files.read_jsonl(tmp_path / "many.jsonl")


def test_the_line_of_a_syntax_error_inside_a_json_file_is_named(tmp_path):
    (tmp_path / "file").write_text('{\n"a": 1,\n"b" 2}')
    with pytest.raises(InputError, match="file:3: not JSON"):
        files.read_json(tmp_path / "file")


def test_a_line_that_is_no_object_or_has_no_end_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text('{"a": 1}\n[1]\n')
    with pytest.raises(InputError, match="file:2: expected a JSON object"):
        files.read_jsonl(path)
    path.write_text('{"a": 1}\n{"a": 2}')
    with pytest.raises(InputError, match="file:2: the last line is not finished"):
        files.read_jsonl(path)


def test_only_newlines_end_a_line(tmp_path):
    (tmp_path / "file").write_text('{"a": "x\u2028y\u0085z"}\n{"a": "é"}\n', encoding="utf-8")
    assert files.read_jsonl(tmp_path / "file") == [{"a": "x\u2028y\u0085z"}, {"a": "é"}]


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing.json does not exist"):
        files.read_json(tmp_path / "nothing.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="binary: not UTF-8"):
        files.read_json(tmp_path / "binary")


def test_readable_rows_are_those_before_the_first_damaged_line_which_is_told(tmp_path):
    path, told = tmp_path / "rows.jsonl", []
    rest = "the rows from there on are left out"
    for tail, message in (
        ("", None),
        ('{"b": 2', "rows.jsonl:2: the last line is not finished; remove it, unless it is being written; " + rest),
        ('[1]\n{"c": 3}\n', "rows.jsonl:2: expected a JSON object, found '[1]'; " + rest),
        (
            '{"b": NaN}\n{"c": 3}\n',
            "rows.jsonl:2: not plain JSON: NaN is not JSON; " + rest,
        ),
    ):
        told.clear()
        path.write_text('{"a": "x\u2028y"}\n' + tail)
        assert files.readable_rows(path, told.append) == ({"a": "x\u2028y"},)
        assert told == ([] if message is None else [f"{tmp_path}/{message}"])


def test_readable_rows_of_no_file_are_none_and_what_is_no_file_is_told(tmp_path):
    told = []
    assert files.readable_rows(tmp_path / "absent", told.append) == () and told == []
    assert files.readable_rows(tmp_path, told.append) == () and "can't be read: Is a directory" in told[0]
    (tmp_path / "binary").write_bytes(b'{"a": "\xff"}\n')
    assert files.readable_rows(tmp_path / "binary", told.append) == ({"a": "\ufffd"},)


def test_true_and_false_are_no_numbers():
    assert [files.is_number(value) for value in (1, 2.5, True, "3", None)] == [True, True, False, False, False]


def test_a_pipe_a_device_and_too_large_a_file_are_refused_without_being_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ten").write_bytes(b"0123456789")
    assert files.read_file(tmp_path / "ten", 10) == b"0123456789"
    for path, limit, reason in (
        (tmp_path / "pipe", None, "is a pipe or a device"),
        ("/dev/zero", None, "is a pipe or a device"),
        (tmp_path / "ten", 9, "more than 9 bytes"),
        ("a\0b", None, "can't be a path"),
        ("a\ud800b", None, "can't be a path"),
    ):
        with pytest.raises(InputError, match=reason):
            files.read_file(path, limit)


def test_json_that_is_a_folder_or_too_deep_is_refused_by_its_name(tmp_path):
    with pytest.raises(InputError, match="can't be read: Is a directory"):
        files.read_json(tmp_path)
    assert files.parse_json("[" * 100 + "]" * 100, "a.json") is not None
    with pytest.raises(InputError, match="a.json:1: not plain JSON: it nests more than 100 deep"):
        files.parse_json("[" * 101 + "]" * 101, "a.json")


def test_what_a_killed_process_was_writing_is_swept_and_what_a_living_one_writes_stays(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "inner").mkdir()
    stay = {f".a.json.{os.getpid()}.partial", "b.partial", ".stage-0123.partial", "inner", f"c.{dead.pid}.partial"}
    for name in (*stay - {"inner"}, f".a.json.{dead.pid}.partial", f"inner/.b.{dead.pid}.partial"):
        (tmp_path / name).write_text("half")
    files.sweep_partials(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == stay and not list((tmp_path / "inner").iterdir())


def test_what_a_killed_process_left_is_swept_by_one_that_has_been_given_its_id(tmp_path):
    left, held = (tmp_path / f".{name}.{os.getpid()}.partial" for name in ("left", "held"))

    def writing():
        yield b"half"
        os.utime(held, (1, 1))
        files.sweep_partials(tmp_path)
        assert held.exists()

    left.write_text("half")
    os.utime(left, (1, 1))
    files.write_atomic(tmp_path / "held", writing())
    assert [path.name for path in tmp_path.iterdir()] == ["held"]
    assert (tmp_path / "held").read_bytes() == b"half"


def test_a_folder_whose_name_is_no_utf8_is_refused_before_anything_is_made(tmp_path):
    name = os.fsdecode(b"r\xfcn")
    with pytest.raises(InputError, match="its name is no UTF-8; choose another one"), files.lock(tmp_path / name):
        pass
    assert not list(tmp_path.iterdir())
