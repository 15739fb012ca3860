"""Processes that end with the one that asked for them."""

import os
import select
import signal
import subprocess
import sys

import pytest

SCRIPT = """
import multiprocessing, sys, time
from reasoning.core.parent import end_with_parent

def work(line):
    if sys.argv[1] == "ends":
        end_with_parent()
    line.send("here")
    time.sleep(60)

context = multiprocessing.get_context("fork")
ours, theirs = context.Pipe()
process = context.Process(target=work, args=(theirs,))
process.start()
ours.recv()
print(process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("how", "patience", "ended"), [("ends", 20.0, True), ("stays", 0.5, False)])
def test_a_process_ends_as_soon_as_the_one_that_asked_for_it_is_killed(how: str, patience: float, ended: bool):
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT, how], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    watched = os.pidfd_open(child)
    try:
        parent.kill()
        parent.wait()
        assert bool(select.select([watched], [], [], patience)[0]) is ended
    finally:
        os.close(watched)
        parent.stdout.close()
        if not ended:
            os.kill(child, signal.SIGKILL)
