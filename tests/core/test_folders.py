"""Folders that are whole or absent, whoever else makes them."""

import os
import shutil
import subprocess
import sys

import pytest

from reasoning.core import files, folders
from reasoning.core.errors import InputError


def test_data_is_synced_before_the_move_and_the_folder_after_it(tmp_path, monkeypatch):
    events = []
    for name in ("fsync", "replace", "rename"):
        real = getattr(os, name)

        def record(*arguments, name=name, real=real):
            described = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else str(arguments[1])
            events.append((name, os.path.relpath(described, tmp_path)))
            return real(*arguments)

        monkeypatch.setattr(os, name, record)

    files.write_atomic(tmp_path / "file", "text")
    assert [event for event in events if ".partial" not in event[1]] == [("replace", "file"), ("fsync", ".")]
    assert events[0][0] == "fsync"

    events.clear()
    temporary = tmp_path / "out.partial"
    (temporary / "inner").mkdir(parents=True)
    (temporary / "inner" / "data").write_text("1")
    folders.publish_folder(temporary, tmp_path / "out")
    *before, moved, after = events
    assert {path for _, path in before} == {"out.partial/inner/data", "out.partial/inner", "out.partial"}
    assert (moved, after) == (("rename", "out"), ("fsync", "."))


def test_publishing_moves_the_folder(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "data").write_text("1")
    folders.publish_folder(tmp_path / "out.partial", tmp_path / "out")
    assert (tmp_path / "out" / "data").read_text() == "1"
    assert not (tmp_path / "out.partial").exists()


def test_publishing_never_replaces_what_is_there(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists already"):
        folders.publish_folder(tmp_path / "out.partial", tmp_path / "out")
    assert (tmp_path / "out.partial").exists()


def test_of_two_that_make_one_folder_each_writes_its_own_and_the_second_to_end_finds_it_there(tmp_path):
    first, second = folders.folder_in_making(tmp_path / "out"), folders.folder_in_making(tmp_path / "out")
    places = [making.__enter__() for making in (first, second)]
    for name, place in zip(("first", "second"), places, strict=True):
        place.mkdir()
        (place / "whole").write_text(name)
    second.__exit__(None, None, None)
    with pytest.raises(InputError, match="out exists already"):
        first.__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "whole").read_text() == "second"


def test_a_folder_that_appears_while_another_is_renamed_stays(tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()

    def late(folder):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").touch()

    monkeypatch.setattr(folders, "sync_tree", late)
    with pytest.raises(InputError, match="out exists already"):
        folders.publish_folder(tmp_path / "made", tmp_path / "out")
    assert (tmp_path / "out" / "theirs").exists() and (tmp_path / "made").exists()


def test_what_a_killed_process_left_of_a_folder_goes_and_what_a_living_one_makes_stays(tmp_path):
    code = (
        "import sys, time, pathlib; from reasoning.core import folders\n"
        "with folders.folder_in_making(pathlib.Path(sys.argv[1])) as place:\n"
        "    place.mkdir(); print('made', flush=True); time.sleep(60)"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for maker in makers:
        assert maker.stdout.readline() == "made\n"
    makers[0].kill()
    makers[0].communicate()
    for held in tmp_path.glob(".out.*.partial/.lock"):
        os.utime(held, (0, 0))
    (tmp_path / ".other.partial").mkdir()
    with folders.folder_in_making(tmp_path / "out") as place:
        place.mkdir()
        assert len(list(tmp_path.glob(".out.*.partial"))) == 2
    makers[1].terminate()
    makers[1].communicate()
    assert {path.name for path in tmp_path.iterdir()} >= {"out", ".other.partial"}


def test_what_a_thread_still_writes_when_a_maker_is_interrupted_goes_too(tmp_path, monkeypatch):
    usual, removed = shutil.rmtree, []

    def torn(path, **options):
        usual(path, **options)
        removed.append(path)
        if len(removed) < 3:
            (path / "out" / "checkpoint").mkdir(parents=True)

    monkeypatch.setattr(folders.shutil, "rmtree", torn)
    with pytest.raises(KeyboardInterrupt), folders.folder_in_making(tmp_path / "out") as place:
        place.mkdir()
        raise KeyboardInterrupt
    assert len(removed) == 3 and list(tmp_path.iterdir()) == []


def test_a_name_is_free_once_what_a_killed_maker_left_is_gone(tmp_path):
    (tmp_path / "out").mkdir()
    left = tmp_path / ".out.0123abcd.partial"
    left.mkdir()
    (left / ".lock").touch()
    os.utime(left / ".lock", (0, 0))
    with pytest.raises(InputError, match="out exists already; move it away"):
        folders.check_free(tmp_path / "out")
    assert not left.exists()
    folders.check_free(tmp_path / "other")


@pytest.mark.parametrize("locked", [True, False], ids=["after it was locked", "before it was locked"])
def test_what_a_maker_left_that_was_killed_a_moment_ago_goes_too(tmp_path, monkeypatch, locked):
    monkeypatch.setattr(folders, "SETTLED_SECONDS", 0.05)
    left = tmp_path / ".out.0123abcd.partial"
    left.mkdir()
    if locked:
        (left / ".lock").touch()
    folders.check_free(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_user_s_cache_is_where_the_user_says_and_nowhere_without_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folders.user_cache() == tmp_path / "reasoning"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folders.user_cache() == tmp_path / "home/.cache/reasoning"
