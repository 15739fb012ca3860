import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import __main__ as entry
from launch.local import command_of, out_of
from reasoning.core.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[2]

# Stands in for a run: says what it was told, and saves when it is asked to end.
RUN = """
import signal, sys, time
def save(*_):
    print('saved', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('at work', flush=True)
time.sleep(60)
"""


def test_the_launcher_becomes_the_program(tmp_path):
    program = "import os; print(os.getpid()); raise SystemExit(6)"
    command = [sys.executable, "-c", program]
    launcher = f"""
import os
from pathlib import Path
from launch.local import become
print(os.getpid())
become({command}, Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", launcher], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    before, after = done.stdout.split()
    assert before == after
    assert done.returncode == 6


def test_the_folder_is_the_one_that_the_run_takes():
    assert out_of("a/b.gin", ["x.y=1"]) == Path("runs/b")
    assert out_of("a/b.gin", ["--out", "c"]) == out_of("a/b.gin", ["x.y=1", "--out=c"]) == Path("c")


def test_a_sweep_is_run_as_one_and_a_missing_file_is_told(tmp_path):
    (tmp_path / "one.gin").write_text("run.seed = 1\n")
    (tmp_path / "many.gin").write_text("include 'one.gin'\nsweep = @pipeline.Sweep\n")
    assert command_of(str(tmp_path / "one.gin"))[-1] == "run"
    assert command_of(str(tmp_path / "many.gin"))[-1] == "sweep"
    with pytest.raises(InputError, match="none.gin"):
        command_of("none.gin")


def test_a_detached_run_is_shown_followed_and_stopped(tmp_path, monkeypatch, capfd):
    command = [sys.executable, "-c", RUN]
    launcher = f"from pathlib import Path; from launch.local import become; become({command}, Path('out'))"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    assert entry.local.detach([sys.executable, "-c", launcher, "local"], Path("out")) == 0
    limit = time.monotonic() + 30
    while "at work" not in Path("out/launch.log").read_text() and time.monotonic() < limit:
        time.sleep(0.02)
    assert entry.main(["local", "status", "out"]) == 0 and "running as process" in capfd.readouterr().out
    with pytest.raises(InputError, match="running"):
        entry.local.detach([sys.executable, "-c", launcher, "local"], Path("out"))
    assert entry.main(["local", "stop", "out"]) == 0
    assert entry.main(["local", "logs", "out"]) == 0
    assert "at work\nsaved" in capfd.readouterr().out
    assert entry.main(["local", "status", "out"]) == 0 and "out: ended" in capfd.readouterr().out
    assert entry.main(["local", "status", "elsewhere"]) == 2
