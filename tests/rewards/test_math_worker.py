import json
import os
import signal
import subprocess
import sys

import pytest

from reasoning.rewards import math_worker
from reasoning.rewards.math_worker import main, verdict_of


@pytest.mark.parametrize(
    ("right", "given", "verdict"),
    [
        (r"\sin 2 x", r"2 \sin x \cos x", True),
        (r"\sin x", r"\cos x", False),
        (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}", False),  # equal to math-verify, which rounds
        (r"\frac{1}{3}", "0.3333333333", False),
        (r"1 - \frac{1}{e}", r"1 + \frac{1}{e}", False),
        ("1", "}{", "unreadable"),
        ("1", "x = 1", "unreadable"),
    ],
)
def test_equal_means_equal_to_thirty_digits(right, given, verdict):
    assert verdict_of(right, given) == verdict


def start(parent):
    command = [sys.executable, "-I", math_worker.__file__, "2.0", str(2**30), str(parent)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_worker_answers_line_by_line_and_ends_with_its_questions():
    process = start(os.getpid())
    said, _ = process.communicate(json.dumps(["2", r"\sqrt{4}"]) + "\n" + json.dumps(["2", "3"]) + "\n", timeout=60)
    assert [json.loads(line) for line in said.splitlines()] == ["ready", True, False]
    assert process.returncode == 0


def test_a_worker_of_another_parent_ends_at_once():
    process = start(os.getpid() + 1)
    assert process.communicate(timeout=60)[0] == ""


def test_a_worker_is_started_by_its_path_alone():
    assert main.__module__ == "reasoning.rewards.math_worker"
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
