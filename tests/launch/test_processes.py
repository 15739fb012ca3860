import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

LAUNCHER = """
import sys
from launch.processes import Process, run_together

grace, *programs = sys.argv[1:]
python = (sys.executable, "-u", "-c")
sys.exit(run_together([Process(str(k), (*python, p), {"K": str(k)}) for k, p in enumerate(programs)], float(grace)))
"""

WAITS = "import time; print('ready'); time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)"
# Its child holds a lock for as long as it lives, and both outlive a SIGTERM.
PARENT = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import fcntl, time; f = open({lock!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('ready'); time.sleep(60)"
subprocess.Popen([sys.executable, "-u", "-c", child])
time.sleep(60)
"""
TAKES_ITS_TIME = """
import signal, sys, time
def save(number, frame):
    time.sleep(0.4); print('saved', number); sys.exit(3)
signal.signal(signal.SIGTERM, save); signal.signal(signal.SIGINT, save)
print('ready'); time.sleep(60)
"""


def start(*programs: str, grace: float = 30) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(grace), *programs], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )


def finish(launcher: subprocess.Popen[str]) -> tuple[int, list[str]]:
    output, _ = launcher.communicate(timeout=30)
    return launcher.returncode, output.splitlines()


def wait_until_ready(launcher: subprocess.Popen[str], processes: int) -> None:
    assert launcher.stdout is not None
    for _ in range(processes):
        assert launcher.stdout.readline().endswith("ready\n")


def test_every_line_of_both_streams_is_prefixed_with_its_process():
    program = "import os, sys; print('out', os.environ['K']); sys.stderr.write('err\\nno end')"
    code, lines = finish(start(program, program))
    assert code == 0
    assert sorted(lines) == ["[0] err", "[0] no end", "[0] out 0", "[1] err", "[1] no end", "[1] out 1"]


def test_one_failing_process_ends_the_others_and_gives_its_exit_code():
    begun = time.monotonic()
    code, _ = finish(start(WAITS, "raise SystemExit(7)", WAITS))
    assert code == 7
    assert time.monotonic() - begun < 20


def test_a_process_that_ignores_the_request_is_killed_after_the_grace_period():
    code, _ = finish(start(DEAF, "import time; time.sleep(1); raise SystemExit(9)", grace=0.2))
    assert code == 9


def test_death_by_signal_counts_as_failure_with_the_code_that_shells_use():
    code, _ = finish(start("import os; os.kill(os.getpid(), 9)", WAITS))
    assert code == 128 + 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_every_process_and_all_are_waited_for(number):
    launcher = start(TAKES_ITS_TIME, TAKES_ITS_TIME, grace=0.01)
    wait_until_ready(launcher, 2)
    launcher.send_signal(number)
    code, lines = finish(launcher)
    assert code == 3
    assert sorted(lines) == [f"[0] saved {number}", f"[1] saved {number}"]


def test_a_second_signal_kills_with_all_descendants(tmp_path):
    lock = tmp_path / "lock"
    launcher = start(PARENT.replace("{lock!r}", repr(str(lock))))
    wait_until_ready(launcher, 1)
    launcher.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert launcher.poll() is None
    launcher.send_signal(signal.SIGTERM)
    assert finish(launcher)[0] == 128 + signal.SIGKILL
    assert holds_nobody(lock)


def holds_nobody(lock: Path) -> bool:
    with lock.open() as file:
        for _ in range(100):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.05)
    return False


def test_processes_die_with_a_launcher_that_is_killed(tmp_path):
    locks = [tmp_path / "0", tmp_path / "1"]
    hold = "import fcntl, time; f = open({!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('ready'); time.sleep(60)"
    launcher = start(*(hold.format(str(lock)) for lock in locks))
    wait_until_ready(launcher, 2)
    launcher.kill()
    launcher.communicate(timeout=30)
    for lock in locks:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # Waits until its holder is gone; pytest's limit is shorter than 60 s.


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import os; os.kill(os.getpid(), 11)", "process 1 was killed by SIGSEGV; the others are stopped"),
        ("import os; os.kill(os.getpid(), 9)", "process 1 was killed by SIGKILL (as the kernel does where memory"),
        ("raise SystemExit(7)", "process 1 ended with exit status 7; the others are stopped"),
    ],
)
def test_says_which_process_died_and_of_what(capfd, program, told):
    finish(start(WAITS, program))
    assert [line.startswith(told) for line in capfd.readouterr().err.splitlines()] == [True]


def test_says_which_process_stands_still(capfd):
    stops = "import os; print(os.getpid()); os.kill(os.getpid(), 19); print('ready')"
    launcher = start("print('ready')", stops)
    assert launcher.stdout is not None
    lines = [launcher.stdout.readline() for _ in range(2)]
    number = next(int(line.split()[1]) for line in lines if "ready" not in line)
    told = ""
    while "process 1 is stopped" not in told:
        told += capfd.readouterr().err
        time.sleep(0.01)
    os.kill(number, signal.SIGCONT)
    assert finish(launcher)[0] == 0 and told.count("is stopped") == 1


def test_frames_of_a_library_that_aborts_do_not_push_out_the_reason(capfd):
    program = "print('task 1 is silent'); [print(f'    @     0x7fee6dae{k:04x}  f()') for k in range(30)]; exit(6)"
    code, lines = finish(start(program))
    assert code == 6 and len(lines) == 31
    assert capfd.readouterr().err.endswith("its last lines:\n  task 1 is silent\n")
