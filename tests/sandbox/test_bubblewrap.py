import os

from reasoning.sandbox import bubblewrap


def program(path, release: str) -> str:
    path.write_text(f"#!/bin/sh\necho bubblewrap {release}\n")
    path.chmod(0o755)
    return str(path)


def test_the_newer_bubblewrap_counts_and_an_old_one_is_none(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    system = program(tmp_path / "bin" / "bwrap", "0.8.0")
    newer, older = program(tmp_path / "newer", "0.11.0"), program(tmp_path / "older", "0.4.1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert bubblewrap.newest(newer) == newer
    assert bubblewrap.newest(older) == system
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bubblewrap.newest(older) == ""
    assert bubblewrap.newest("") == ""


def test_the_package_brings_a_bubblewrap():
    assert os.access(bubblewrap.packaged(), os.X_OK)


def test_a_report_tells_whether_the_program_ran_and_as_which_process():
    started = '{ "child-pid": 31432, "pid-namespace": 4026532181 }\n'
    assert bubblewrap.inner(started[:9]) == 0
    assert bubblewrap.inner(started) == 31432
    assert bubblewrap.fault(started)
    assert bubblewrap.fault(started + '{ "exit-code": 7 }\n') == ""
