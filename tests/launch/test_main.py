import sys
from pathlib import Path

import pytest

from launch import __main__ as entry


def test_everything_after_the_experiment_is_passed_on_untouched(monkeypatch, tmp_path):
    calls = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.gin").touch()
    monkeypatch.setattr(entry.multiprocess, "run_processes", lambda *call: calls.append(call) or 4)
    arguments = [
        "multiprocess",
        "--processes",
        "3",
        "--devices",
        "5",
        "a.gin",
        "--out",
        "x",
        "zero.lr=1",
        "--processes",
    ]
    assert entry.main(arguments) == 4
    command = [sys.executable, "-m", "reasoning", "run", "a.gin", "--out", "x", "zero.lr=1", "--processes"]
    assert calls == [(command, 3, 5, 15.0, Path("x"))]


@pytest.mark.parametrize("words", [("--detach", "a.gin"), ("a.gin", "--detach")])
def test_what_is_the_launcher_s_own_stands_before_the_experiment_or_behind_it(monkeypatch, tmp_path, words, capsys):
    calls = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.gin").touch()
    monkeypatch.setattr(entry.local, "detach", lambda *call: calls.append(call) or 0)
    assert entry.main(["local", *words, "--out", "x", "zero.lr=1"]) == 0
    assert calls == [([sys.executable, "-m", "launch", "local", "a.gin", "--out", "x", "zero.lr=1"], Path("x"))]
    assert entry.main(["local", *words, "--dry-run"]) == 0
    assert capsys.readouterr().out == f"{sys.executable} -m reasoning run a.gin\n" and len(calls) == 1


@pytest.mark.parametrize("arguments", [["local"], [], ["multiprocess", "--devices", "0", "a.gin"]])
def test_wrong_arguments_exit_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit:
        entry.main(arguments)
    assert exit.value.code == 2
    assert "usage: python -m launch" in capsys.readouterr().err
