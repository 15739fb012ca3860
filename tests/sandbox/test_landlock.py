import os

from reasoning.sandbox import landlock


def test_a_folders_files_are_counted(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(os.urandom(1 << 16))
    assert landlock.stored(str(tmp_path)) >= 1 << 17


def test_root_becomes_nobody_only_where_nobody_may_read_what_programs_need(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert landlock._user(["/usr"]) == 65534
    assert landlock._user(["/usr", str(closed)]) == 0
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert landlock._user(["/usr"]) == 0
