import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reasoning.sandbox import grading
from reasoning.sandbox.grading import Sandbox, grade
from reasoning.sandbox.records import Job, Limits, Stdio
from tests.support.outside import descendants

CHECKOUT = Path(__file__).resolve().parents[2]
SPIN = Job("while True: pass", (Stdio("", "1"),), limits=Limits(cpu_seconds=60.0, wall_seconds=60.0))
HELLO = Job("print(1)", (Stdio("", "1"),))


def is_running(pid: int) -> bool:
    """Whether a process is there and doesn't only wait to be reaped."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It may go while it is looked at.
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def gone(pids: set[int]) -> bool:
    """Whether all processes are gone, or wait only to be reaped, within half a minute."""
    for _ in range(600):
        if not any(is_running(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def wait_for(condition) -> None:
    for _ in range(2400):
        if condition():
            return
        time.sleep(0.025)
    raise AssertionError("what was waited for did not happen in a minute")


def supervisor(sandbox: Sandbox) -> int:
    process = grading._pool(os.getpid(), sandbox).process
    assert process is not None
    return process.pid


@pytest.mark.parametrize("tier", ["bubblewrap", "landlock"])
def test_nothing_is_left_of_a_run_that_is_killed(tier):
    program = (
        "from reasoning.sandbox.grading import Sandbox, grade; from reasoning.sandbox.records import *;"
        "limits = Limits(cpu_seconds=60.0, wall_seconds=60.0);"
        "jobs = [Job(f'while True: {i}', (Stdio('', '1'),), limits=limits) for i in range(2)];"
        f"grade(jobs, Sandbox(workers=2, tier={tier!r}))"
    )
    least = 5 if tier == "bubblewrap" else 3  # the supervisor, two programs, and bubblewrap's own process for each
    run = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT)
    try:
        wait_for(lambda: len(descendants(run.pid)) >= least)
        started = set(descendants(run.pid))
    finally:
        run.kill()
        run.wait()
    assert gone(started)


@pytest.mark.parametrize("tier", ["bubblewrap", "landlock"])
def test_a_supervisor_that_dies_is_started_anew_and_its_jobs_are_tried_again(tier):
    sandbox = Sandbox(workers=2, tier=tier)
    grade([HELLO], sandbox)
    first = supervisor(sandbox)
    os.kill(first, signal.SIGKILL)
    jobs = [Job(f"print({number})", (Stdio("", str(number)),)) for number in range(4)]
    assert [found.verdict for found in grade(jobs, sandbox)] == ["passed"] * 4
    assert supervisor(sandbox) != first


def test_jobs_that_two_supervisors_died_of_are_not_graded(monkeypatch):
    sandbox = Sandbox(workers=1, tier="landlock", remembered=11)
    grade([HELLO], sandbox)
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < 2:
            process = grading._pool(os.getpid(), sandbox).process
            pid = process.pid if process else 0
            if pid and pid not in killed and len(descendants(pid)) == 1:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    [found] = grade([SPIN], sandbox)
    thread.join()
    assert found.verdict == "infrastructure"
    assert grade([Job("print(5)", (Stdio("", "5"),))], sandbox)[0].verdict == "passed"


def test_a_supervisor_that_falls_silent_is_replaced(monkeypatch):
    sandbox = Sandbox(workers=1, tier="landlock", remembered=12)
    grade([HELLO], sandbox)
    monkeypatch.setattr(grading, "_SILENT_SECONDS", 2.0)
    first = supervisor(sandbox)
    os.kill(first, signal.SIGSTOP)
    [found] = grade([Job("print(6)", (Stdio("", "6"),))], sandbox)
    assert found.verdict == "passed"
    assert supervisor(sandbox) != first


def test_a_slow_program_holds_up_only_its_own_worker():
    sandbox = Sandbox(workers=2, tier="landlock", remembered=13)
    slow = Job("import time; time.sleep(2.0); print(1)", (Stdio("", "1"),))
    quick = [Job(f"print({number})", (Stdio("", str(number)),)) for number in range(4)]
    order: list[str] = []
    receive = grading._receive

    def recorded(pool, seconds):
        reply = receive(pool, seconds)
        if "grade" in reply:
            order.append(reply["number"])
        return reply

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grading, "_receive", recorded)
        assert {found.verdict for found in grade([slow, *quick], sandbox)} == {"passed"}
    assert order[-1] == 0


def test_equal_jobs_run_once_and_are_remembered(monkeypatch):
    sandbox = Sandbox(workers=1, tier="landlock", remembered=2)
    job = Job("import time; print(1); print(time.time_ns())", (Stdio("", "1"),))  # wrong, and says when
    first, second = grade([job, job], sandbox)
    assert first == second
    assert grade([job], sandbox) == [first]
    grade([Job(f"print({number})", (Stdio("", str(number)),)) for number in (7, 8)], sandbox)
    assert len(grading._pool(os.getpid(), sandbox).grades) == 2
