import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launch.worker import take_finished

CHECKOUT = Path(__file__).resolve().parents[2]


def work(tmp_path: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "launch.worker",
        *words,
        "--out",
        str(tmp_path),
        "--",
        sys.executable,
        "-c",
        program,
    ]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("ends", "status"),
    [("raise SystemExit(143)", 75), ("import os; os.kill(os.getpid(), 15)", 75), ("raise SystemExit(2)", 2), ("", 0)],
)
def test_the_end_of_a_run_becomes_what_schedulers_are_told(tmp_path, ends, status):
    assert work(tmp_path, f"{ends}", "--retries", "3").returncode == status


def test_a_failure_is_tried_again_so_often_and_named_with_its_last_lines(tmp_path):
    done = work(tmp_path, "print('it broke'); raise SystemExit(7)", "--retries", "2")
    assert done.returncode == 7 and done.stdout.count("[0] it broke") == 3
    assert (
        f"process 0 on {socket.gethostname()} ended with exit status 7; none is left; its last lines:\n  it broke"
        in done.stderr
    )


def test_finished_artifacts_are_taken_whole_once_and_others_not(tmp_path):
    here, there = tmp_path / "there", tmp_path / "here"
    for name in ("base-1", ".zero-2.partial", "corpus-3"):
        (here / "artifacts" / name).mkdir(parents=True)
        (here / "artifacts" / name / "weights").write_text(name)
    for name in ("base-1", ".zero-2.partial"):
        (here / "artifacts" / name / "artifact.json").write_text("{}")
    assert take_finished(here, there) == ["base-1"]
    assert (there / "artifacts/base-1/weights").read_text() == "base-1"
    assert take_finished(here, there) == []
    assert os.listdir(there / "artifacts") == ["base-1"]
    assert take_finished(tmp_path / "nowhere", there) == []


def test_cells_that_take_the_same_artifacts_at_once_do_not_disturb_each_other(tmp_path):
    for number in range(20):
        folder = tmp_path / f"first/artifacts/stage-{number}"
        folder.mkdir(parents=True)
        (folder / "artifact.json").write_text("{}")
    threads = [threading.Thread(target=take_finished, args=(tmp_path / "first", tmp_path / k)) for k in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(os.listdir(tmp_path / k / "artifacts")) for k in "abc"] == [20, 20, 20]
