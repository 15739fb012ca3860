import hashlib
import os
import time

import pytest

from reasoning.core.contents import ABSENT, content_of, matches
from reasoning.core.errors import InputError

LONG_AGO = 1_600_000_000


def look(path, memory=None, notes=None):
    return content_of(str(path), {} if memory is None else memory, ([] if notes is None else notes).append)


def write(path, data, age=LONG_AGO):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (age, age))
    return path


@pytest.fixture
def counted(monkeypatch):
    """The files whose bytes were read."""
    read = []

    def hash_and_count(path):
        read.append(path.name)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr("reasoning.core.contents.hash_file", hash_and_count)
    return read


@pytest.fixture
def later(monkeypatch):
    """A clock that is ten seconds on, so that what was just written has settled."""
    now = time.time_ns()
    monkeypatch.setattr("reasoning.core.contents.time.time_ns", lambda: now + 10**10)


def test_a_file_is_told_by_the_sha256_of_its_bytes(tmp_path):
    assert look(write(tmp_path / "a", b"one")) == hashlib.sha256(b"one").hexdigest()


def test_a_folder_changes_with_any_file_under_it_with_names_and_with_files_added(tmp_path):
    write(tmp_path / "m" / "a", b"one")
    write(tmp_path / "m" / "b" / "c", b"two")
    found = [look(tmp_path / "m")]
    write(tmp_path / "m" / "b" / "c", b"owt")
    found.append(look(tmp_path / "m"))
    (tmp_path / "m" / "b" / "c").rename(tmp_path / "m" / "b" / "d")
    found.append(look(tmp_path / "m"))
    write(tmp_path / "m" / "e", b"")
    found.append(look(tmp_path / "m"))
    assert len(set(found)) == 4
    write(tmp_path / "m" / ".git" / "HEAD", b"noted")
    assert look(tmp_path / "m") == found[-1]


def test_a_folder_is_the_same_wherever_it_lies_and_through_a_link(tmp_path):
    for name in ("m", "n"):
        write(tmp_path / name / "b" / "c", b"two")
    (tmp_path / "link").symlink_to(tmp_path / "n")
    (tmp_path / "n" / "b" / "ring").symlink_to(tmp_path / "n")
    assert look(tmp_path / "m") == look(tmp_path / "n") == look(tmp_path / "link")


def test_a_pattern_covers_the_files_that_match_it_now(tmp_path):
    write(tmp_path / "a.jsonl", b"one")
    before = look(tmp_path / "*.jsonl")
    write(tmp_path / "b.txt", b"two")
    assert look(tmp_path / "*.jsonl") == before
    write(tmp_path / "b.jsonl", b"two")
    assert look(tmp_path / "*.jsonl") != before


def test_nothing_a_pipe_and_what_is_no_path_are_absent(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert {look(tmp_path / "none"), look(tmp_path / "pipe"), look("a\0b"), look("/dev/zero")} == {ABSENT}


def test_what_is_remembered_is_not_read_again(tmp_path, counted, later):
    memory = {}
    first = look(write(tmp_path / "a", b"one"), memory)
    assert (look(tmp_path / "a", memory), counted) == (first, ["a"])


@pytest.mark.parametrize("change", ["size", "time", "put back", "replaced"])
def test_a_changed_file_is_read_again(tmp_path, counted, later, change):
    memory, file = {}, write(tmp_path / "a", b"one")
    first = look(file, memory)
    if change == "replaced":
        write(tmp_path / "b", b"two").replace(file)
    else:
        # Where the time is put back, as rsync does, the inode's own time still tells.
        write(file, b"three" if change == "size" else b"two", LONG_AGO + (change == "time"))
    assert look(file, memory) != first and counted == ["a", "a"]


def test_a_file_that_may_still_change_within_one_tick_of_the_clock_is_not_remembered(tmp_path, counted):
    memory, file = {}, write(tmp_path / "a", b"one")
    look(file, memory)
    assert (look(file, memory), memory, counted) == (hashlib.sha256(b"one").hexdigest(), {}, ["a", "a"])


def test_a_long_reading_is_announced(tmp_path, monkeypatch):
    monkeypatch.setattr("reasoning.core.contents._TOLD_BYTES", 3)
    notes = []
    look(write(tmp_path / "a", b"one"), notes=notes)
    assert len(notes) == 1 and str(tmp_path / "a") in notes[0]


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("reasoning.core.contents.hash_file", refuse)
    with pytest.raises(InputError, match=r"/a can't be read: Permission denied"):
        look(write(tmp_path / "a", b"one"))


def test_brackets_in_the_name_of_a_folder_that_exists_stand_for_themselves(tmp_path):
    inside, beside = (write(tmp_path / name / "deep/a.x", name.encode()) for name in ("dir[1]", "dir1"))
    for pattern in ("dir[1]/*/*.x", "dir[1]/**/a.[xy]", "dir[1]/deep/*"):
        assert matches(str(tmp_path / pattern)) == [str(inside)]
    assert sorted(matches(str(tmp_path / "dir[0-9]/deep/*"))) == [str(beside)]
    assert look(tmp_path / "dir[1]/deep/*.x") != look(tmp_path / "dir1/deep/*.x")
