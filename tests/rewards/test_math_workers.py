import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.rewards.math_workers import Workers, workers_of

EQUAL = (r"\tan ^ 2 y + 1", r"\sec ^ 2 y")
HANGS = (r"\sin(x)^{999}", r"\cos(x)^{999}+1")


@pytest.fixture(scope="module")
def pool():
    pool = Workers(count=1, seconds=30.0, memory=2**30)
    yield pool
    pool.close()


def test_answers_come_in_the_order_of_the_questions(pool):
    assert pool.verdicts([("2", "3"), EQUAL, ("2", "3"), ("2", "2")]) == [False, True, False, True]


def test_a_hang_is_no_answer_and_its_worker_is_replaced():
    pool = Workers(count=1, seconds=0.3, memory=2**30)
    assert pool.verdicts([HANGS]) == [None]
    assert [worker.process.poll() for worker in pool._running] == [None]
    pool.close()


def test_a_question_whose_worker_had_no_processor_is_given_as_long_again_once():
    pool = Workers(count=1, seconds=0.8, memory=2**30)
    assert pool.verdicts([("2", "3")]) == [False]
    (running,) = pool._running
    for seconds, answer in ((1.0, True), (5.0, None)):  # longer than the time, and than twice the time
        os.kill(running.process.pid, signal.SIGSTOP)  # a machine that is busy with others
        waker = threading.Timer(seconds, os.kill, (running.process.pid, signal.SIGCONT))
        waker.start()
        assert pool.verdicts([(str(seconds), str(seconds))]) == [answer]
        waker.cancel()
        assert (running.process.poll() is None) == (answer is True)
    pool.close()


def test_a_worker_that_is_killed_is_started_again_and_asked_again(pool):
    pool.verdicts([("3", "4")])
    (running,) = pool._running
    os.kill(running.process.pid, signal.SIGKILL)
    assert pool.verdicts([("4", "4"), ("4", "5")]) == [True, False]


def test_too_little_memory_to_start_is_an_error_that_says_so():
    pool = Workers(count=1, seconds=1.0, memory=2**24)
    with pytest.raises(InputError, match="math-verify can't be asked"):
        pool.verdicts([EQUAL])
    pool.close()


def test_one_set_of_workers_serves_all_of_the_same_settings():
    assert workers_of(1, 9.0, 2**30) is workers_of(1, 9.0, 2**30)


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # It may go while it is looked at.
        return False


def test_workers_die_with_a_parent_that_is_killed():
    program = (
        "import time\nfrom reasoning.rewards.math_workers import Workers\n"
        "pool = Workers(1, 60.0, 2**30)\npool.verdicts([('2', '3')])\n"
        "print(pool._running[0].process.pid, flush=True)\npool.verdicts([(r'\\sin(x)^{999}', r'\\cos(x)^{999}+1')])"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not alive(worker):
            return
        time.sleep(0.05)
    raise AssertionError(f"worker {worker} outlives its parent")
