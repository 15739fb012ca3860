"""No right program is refused: written ones, HumanEval's own solutions and C++, on every tier, quiet and under load."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from honest import Honest, all_honest, human_eval, job, large, written
from outside import descendants, needed, supervisors

from benchmarks.attacks import asked, read_attacks
from reasoning.sandbox.grading import Sandbox, grade
from reasoning.sandbox.records import Grade, Job, Limits, Stdio

CHECKOUT = Path(__file__).resolve().parents[2]
LIMITS = Limits(cpu_seconds=4, wall_seconds=60, memory_mib=512, output_kib=4096)
TIERS = ("bubblewrap", "landlock")
LOAD = 8
EVERY = 8
"""Of HumanEval's problems one in so many is for the quick tests, and of all programs on the second tier."""
SLEEPER = "import time\ntime.sleep({})\nprint('awake')"


@pytest.fixture(params=TIERS)
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return needed(Sandbox(workers=2, tier=request.param, remembered=0))


def failures(programs: list[Honest], sandbox: Sandbox) -> list[str]:
    """Every program that doesn't pass, and why."""
    grades = grade([job(program, LIMITS) for program in programs], sandbox)
    return [f"{one.name}: {found}" for one, found in zip(programs, grades, strict=True) if found.verdict != "passed"]


def test_honest_programs_pass(sandbox: Sandbox):
    python = [program for program in written() if program.language == "python"]
    programs = [*python, *large(), *human_eval()[::EVERY]]
    assert failures(programs if sandbox.tier == TIERS[0] else programs[::EVERY], sandbox) == []


@contextmanager
def load(processes: int) -> Iterator[None]:
    """That many processes that do nothing but work."""
    started = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_all_honest_programs_pass(sandbox: Sandbox):
    programs = all_honest()
    assert len(programs) >= 170 and sum(program.language == "cpp" for program in programs) >= 20
    assert failures(programs, sandbox) == []


@pytest.mark.slow
def test_a_load_of_eight_changes_no_verdict(sandbox: Sandbox):
    forged = [attack for attack in read_attacks("forge_output") if not attack.hangs][::EVERY]
    jobs = [Job(attack.source, asked(attack, {}), limits=LIMITS) for attack in forged]
    quiet = [found.verdict for found in grade(jobs, sandbox)]
    with load(LOAD):
        assert [found.verdict for found in grade(jobs, sandbox)] == quiet
        assert failures(all_honest()[:: 2 * EVERY], sandbox) == []


def sleeping(seconds: float, marks: int) -> list[Job]:
    """Jobs that differ, and take some seconds but no CPU time."""
    return [Job(f"# {n}\n{SLEEPER.format(seconds)}", [Stdio("", "awake")], limits=LIMITS) for n in range(marks)]


def test_two_runs_at_once_dont_see_each_other(sandbox: Sandbox):
    """What one program writes and which processes it has, another that runs beside it doesn't find."""
    writer = "import time\nopen('mine.txt', 'w').write('x')\ntime.sleep(0.4)\nprint(open('mine.txt').read())"
    looker = (
        "import glob, os, time\ntime.sleep(0.2)\nfound = glob.glob('/tmp/**/mine.txt', recursive=True) + "
        "glob.glob('**/mine.txt', recursive=True)\n"
        "try:\n    others = [p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()]\n"
        "except OSError:\n    others = []\nprint(found, others)"
    )
    jobs = [Job(writer, [Stdio("", "x")], limits=LIMITS), Job(looker, [Stdio("", "[] []")], limits=LIMITS)]
    assert [found.verdict for found in grade(jobs, sandbox)] == ["passed", "passed"]


def grade_beside(jobs: list[Job], sandbox: Sandbox) -> tuple[threading.Thread, list[Grade]]:
    """Grades jobs in a thread, and where their grades will be."""
    grades: list[Grade] = []
    thread = threading.Thread(target=lambda: grades.extend(grade(jobs, sandbox)))
    thread.start()
    return thread, grades


def kill_supervisor(fresh: set[int]) -> int:
    """Kills this process's supervisor that isn't in ``fresh``, once it has started a program."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for one in set(supervisors()) - fresh:
            if descendants(one):
                os.kill(one, signal.SIGKILL)
                return one
        time.sleep(0.02)
    raise TimeoutError("no supervisor started a program")


def test_jobs_of_a_supervisor_that_is_killed_are_tried_again_and_then_not_graded():
    others = set(supervisors())
    sandbox = needed(Sandbox(workers=2, remembered=1))
    thread, grades = grade_beside(sleeping(0.5, 2), sandbox)
    killed = kill_supervisor(others)
    thread.join()
    # None is blamed on its program; on a busy machine the second supervisor can be given up for silent as well.
    verdicts = {found.verdict for found in grades}
    assert "passed" in verdicts and verdicts <= {"passed", "infrastructure"}
    thread, grades = grade_beside(sleeping(0.6, 2), sandbox)
    second = kill_supervisor(others)
    third = kill_supervisor({*others, second})
    thread.join()
    assert len({killed, second, third}) == 3
    verdicts = {found.verdict for found in grades}  # on a busy machine one has passed before the second kill
    assert "infrastructure" in verdicts and verdicts <= {"infrastructure", "passed"}
    assert [found.verdict for found in grade(sleeping(0.01, 2), sandbox)] == ["passed", "passed"]


@pytest.mark.parametrize("tier", TIERS)
def test_a_run_that_is_killed_leaves_no_process(tier: str, tmp_path: Path):
    """kill -9 of the process that asks for grades ends its supervisor and every program within."""
    needed(Sandbox(workers=2, tier=tier, remembered=0))
    script = tmp_path / "run.py"
    script.write_text(
        "from reasoning.sandbox.grading import Sandbox, grade\nfrom reasoning.sandbox.records import *\n"
        f"grade([Job('import time; time.sleep(100) #' + str(n), [Stdio('', '1')], limits=Limits(4, 200)) "
        f"for n in range(2)], Sandbox(workers=2, tier={tier!r}))"
    )
    run = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    until = time.monotonic() + 30
    while len(below := descendants(run.pid)) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    assert len(below) >= 3, below
    run.kill()
    run.wait()
    until = time.monotonic() + 30
    while (alive := [pid for pid in below if is_alive(pid)]) and time.monotonic() < until:
        time.sleep(0.02)
    assert alive == []


def is_alive(pid: int) -> bool:
    """Whether a process is there and not just unreaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
